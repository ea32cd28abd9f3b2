# ComBat_seq's answers, edgeR's dispersions that they rest on, and counts mapped by R's quantiles.
# From the repository's root:
#   Rscript tests/golden/r/combat_seq.R
suppressMessages({
  library(sva)
  library(edgeR)
})
here <- "tests/golden/r"
counts <- as.matrix(read.csv(file.path(here, "counts.csv"), row.names = 1))
samples <- read.csv(file.path(here, "samples.csv"), row.names = 1, stringsAsFactors = TRUE)
counts <- counts[, rownames(samples)]
batch <- samples$batch
write <- function(values, id) {
  text <- apply(as.matrix(values), 2, function(v) sprintf("%.15g", v))
  colnames(text) <- colnames(values)
  out <- data.frame(row = rownames(values), text, check.names = FALSE)
  write.csv(out, file.path(here, paste0("combat_seq_", id, ".csv")), row.names = FALSE, quote = FALSE)
}
adjusted <- function(...) {
  invisible(capture.output(out <- ComBat_seq(counts, batch = batch, ...)))
  out
}
write(adjusted(), "plain")
write(adjusted(group = samples$condition), "group")
more <- model.matrix(~ sex + age, samples)
write(adjusted(group = samples$condition, covar_mod = more), "covariates")
set.seed(4)
write(adjusted(group = samples$condition, shrink = TRUE, gene.subset.n = 30), "shrink")

# Dispersions of batch y, three designs: intercept, groups (one-way), groups and a number.
kept <- counts[apply(sapply(levels(batch), function(b) rowSums(counts[, batch == b]) > 0), 1, all), ]
y <- kept[, batch == "y"]
these <- samples[batch == "y", ]
designs <- list(
  mean = model.matrix(~ 1, these),
  group = model.matrix(~ condition, these),
  number = model.matrix(~ condition + age, these)
)
dispersions <- sapply(designs, function(design) {
  common <- estimateGLMCommonDisp(y, design = design, subset = nrow(y))
  c(common, estimateGLMTagwiseDisp(y, design = design, dispersion = common, prior.df = 0))
})
rownames(dispersions) <- c("common", rownames(y))
write(dispersions, "dispersions")

# Counts without any spread beyond Poisson's, where rounding decides where the search ends.
set.seed(9)
poisson <- matrix(rpois(60 * 8, exp(rnorm(60, 3))), 60)
common <- estimateGLMCommonDisp(poisson, subset = 60)
tagwise <- estimateGLMTagwiseDisp(poisson, matrix(1, 8, 1), dispersion = common, prior.df = 0)
colnames(poisson) <- paste0("s", 1:8)
rownames(poisson) <- paste0("g", 1:60)
write(cbind(poisson, common = common, tagwise = tagwise), "poisson")

# Counts mapped from one distribution to another, from the tiniest dispersions to the largest.
set.seed(5)
n <- 600
mean <- signif(exp(runif(n, log(0.05), log(3e5))), 6)
dispersion <- signif(exp(c(runif(500, log(1e-6), log(30)), runif(100, log(1e-14), log(1e-6)))), 6)
to_mean <- signif(mean * exp(rnorm(n)), 6)
to_dispersion <- signif(dispersion * exp(rnorm(n)), 6)
count <- rnbinom(n, mu = mean * exp(rnorm(n, 0, 0.3)), size = 1 / dispersion) + 2
p <- pnbinom(count - 1, mu = mean, size = 1 / dispersion)
mapped <- 1 + qnbinom(p, mu = to_mean, size = 1 / to_dispersion)
mapped <- ifelse(abs(p - 1) < 1e-4, count, mapped)
maps <- cbind(count, mean, dispersion, to_mean, to_dispersion, mapped)
rownames(maps) <- seq_len(n)
write(maps, "maps")
