# R's side of bench-truth: Rscript truth.R FOLDER SAMPLES GENES METHOD ...
# Reads counts.i32 (samples in rows as numpy writes them), batch.txt and condition.txt; writes
# METHOD.f64, again samples in rows. A method that fails is said and left out.

given <- commandArgs(trailingOnly = TRUE)
folder <- given[1]
n <- as.integer(given[2])
genes <- as.integer(given[3])
suppressPackageStartupMessages({
  library(DESeq2)
  library(edgeR)
  library(sva)
})
x <- matrix(readBin(file.path(folder, "counts.i32"), "integer", n * genes), genes, n)
dimnames(x) <- list(paste0("g", seq_len(genes)), paste0("s", seq_len(n)))
batch <- factor(readLines(file.path(folder, "batch.txt")))
condition <- factor(readLines(file.path(folder, "condition.txt")))
model <- model.matrix(~condition)

log_cpm <- function(counts) cpm(calcNormFactors(DGEList(counts)), log = TRUE, prior.count = 2)
stabilized <- function() {
  set <- DESeqDataSetFromMatrix(x, DataFrame(row.names = colnames(x)), ~1)
  assay(tryCatch(vst(set), error = function(e) varianceStabilizingTransformation(set)))
}
surrogates_removed <- function() {
  n_surrogates <- num.sv(log(x + 1), model, seed = 42)
  null <- model[, 1, drop = FALSE]
  found <- svaseq(x + 0, model, null, n.sv = n_surrogates)$sv
  whole <- cbind(model, found)
  effect <- solve(crossprod(whole), crossprod(whole, t(log(x + 1))))
  log(x + 1) - t(found %*% effect[-seq_len(ncol(model)), , drop = FALSE])
}
tasks <- list(
  log_cpm = function() log_cpm(x),
  vst = stabilized,
  quantile = function() limma::normalizeQuantiles(log_cpm(x)),
  combat = function() ComBat(log_cpm(x), batch, model),
  combat_vst = function() ComBat(stabilized(), batch, model),
  combat_seq = function() ComBat_seq(x, batch, group = condition),
  remove_batch_effect = function() removeBatchEffect(log_cpm(x), batch, design = model),
  svaseq = surrogates_removed
)
for (name in given[-(1:3)]) {
  capture.output(answer <- tryCatch(suppressMessages(tasks[[name]]()), error = conditionMessage))
  if (is.character(answer)) {
    cat(name, ": ", gsub("\\s+", " ", answer), "\n", sep = "")
  } else {
    writeBin(as.double(answer), file.path(folder, paste0(name, ".f64")))
  }
}
