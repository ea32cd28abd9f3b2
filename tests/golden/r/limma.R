# Answers of edgeR and limma for the counts beside this file. From the repository's root:
#   Rscript tests/golden/r/limma.R
# Matrices are of every fourth gene, fitted with all.
suppressMessages({
  library(edgeR)
  library(limma)
})
folder <- "tests/golden/r"
read <- function(name) read.csv(file.path(folder, name), row.names = 1)
counts <- as.matrix(read("counts.csv"))
samples <- read("samples.csv")
genes <- read("genes.csv")
fourth <- seq(1, nrow(counts), 4)

write <- function(values, id) {
  values <- as.data.frame(values)
  values[] <- lapply(values, function(v) if (is.numeric(v)) signif(v, 15) else v)
  write.csv(format(values, digits = 15, trim = TRUE), quote = FALSE,
            file.path(folder, paste0("limma_", id, ".csv")))
}
quiet <- function(call) {
  capture.output(value <- suppressMessages(suppressWarnings(call)))
  value
}

kept <- model.matrix(~condition, samples)
full <- model.matrix(~batch + condition + age, samples)
# A column that says nothing new, before others that do.
deficient <- cbind(full[, 1:3], full[, 2] + full[, 3], full[, 4:5])
library_size <- colSums(counts) * seq(0.8, 1.2, length.out = ncol(counts))
log_cpm <- cpm(counts, lib.size = library_size, log = TRUE)
v <- voom(counts, full, lib.size = library_size)

write(data.frame(
  average_log_cpm = aveLogCPM(counts, lib.size = library_size),
  average_log_cpm_dispersed = aveLogCPM(counts, lib.size = library_size, dispersion = 0.4,
                                        prior.count = 0.5),
  filter_none = quiet(filterByExpr(counts, lib.size = library_size)),
  filter_group = filterByExpr(counts, group = samples$condition),
  filter_design = filterByExpr(counts, design = full, min.count = 20),
  row.names = rownames(counts)
), "genes")
write(rpkm(counts, genes$length, lib.size = library_size, log = TRUE, prior.count = 0.7)[fourth, ],
      "log_rpkm")
write(v$weights[fourth, ] |> `dimnames<-`(dimnames(counts[fourth, ])), "voom_weights")
write(quiet(voom(counts, deficient, lib.size = library_size, span = 0.3))$weights[fourth, ] |>
        `dimnames<-`(dimnames(counts[fourth, ])), "voom_weights_deficient")
write(quiet(removeBatchEffect(log_cpm, samples$batch, samples$site, covariates = samples$age,
                              design = kept))[fourth, ], "rbe_nested_age")
holes <- log_cpm
holes[(seq_along(holes) * 31) %% 7 == 0] <- NA
holes[5, samples$batch == "y"] <- NA
write(quiet(removeBatchEffect(holes, samples$batch, samples$sex, design = kept))[fourth, ],
      "rbe_missing")
write(quiet(removeBatchEffect(v, samples$batch, design = kept))[fourth, ], "rbe_weights")
smooth <- lowess(log_cpm[, 1], log_cpm[, 2], f = 0.2, iter = 2)
rounded <- lowess(round(log_cpm[, 1]), log_cpm[, 2], f = 0.4, delta = 0)
write(data.frame(x = smooth$x, y = smooth$y, tied_x = rounded$x, tied_y = rounded$y), "lowess")
