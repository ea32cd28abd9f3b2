# ComBat's answers on the first 80 genes: log2 CPM, some values taken out for the missing ones.
suppressMessages(library(sva))
here <- "tests/golden/r"
counts <- as.matrix(read.csv(file.path(here, "counts.csv"), row.names = 1))
samples <- read.csv(file.path(here, "samples.csv"), row.names = 1, stringsAsFactors = TRUE)
counts <- counts[, rownames(samples)]
x <- round(log2(t(t(counts + 0.5) / (colSums(counts) + 1)) * 1e6), 10)[1:80, ]
holes <- x
holes[(outer(7 * (1:80), 3 * (1:ncol(x)), "+") %% 31) == 0] <- NA
mod <- model.matrix(~ condition + age, samples)
batch <- samples$batch
keep <- function(id, ...) {
  y <- suppressMessages(ComBat(..., batch = batch))
  out <- data.frame(gene = rownames(y), apply(y, 2, function(v) sprintf("%.15g", v)))
  write.csv(out, file.path(here, paste0("combat_", id, ".csv")), row.names = FALSE, quote = FALSE)
}
keep("par_mod_ref", dat = x, mod = mod, ref.batch = "y")
keep("nonpar_mod", dat = x, mod = mod, par.prior = FALSE)
keep("nonpar_meanonly_ref", dat = x, ref.batch = "y", mean.only = TRUE, par.prior = FALSE)
keep("par_missing", dat = holes, mod = mod)
keep("nonpar_missing", dat = holes, par.prior = FALSE)
keep("par_missing_ref", dat = holes, mod = mod, ref.batch = "y")
