# R's side of bench-classical: Rscript peers.R R METHOD FOLDER SAMPLES; `handed.py` says what for.
# Samples in rows as numpy writes them are genes x samples as R reads them.

given <- commandArgs(trailingOnly = TRUE)
method <- given[2]
folder <- given[3]
n <- as.integer(given[4])
genes <- as.integer(gsub("\\D", "", sub(".*\"genes\"", "", readLines(file.path(folder, "handed.json")))))

handed <- function(name, what, size, count) {
  readBin(file.path(folder, name), what, count, size = size)
}
counts <- function() matrix(handed("counts.i32", "integer", 4, n * genes), genes, n)
log_cpm <- function() matrix(handed("log_cpm.f64", "double", 8, n * genes), genes, n)
batch <- handed("batch.i32", "integer", 4, n)
condition <- handed("condition.i32", "integer", 4, n)

data_set <- function() {
  x <- counts()
  dimnames(x) <- list(paste0("g", seq_len(genes)), paste0("s", seq_len(n)))
  DESeqDataSetFromMatrix(x, DataFrame(row.names = colnames(x)), ~1)
}

tasks <- list(
  size_factors = list("DESeq2", counts, function(x) estimateSizeFactorsForMatrix(x)),
  tmm = list("edgeR", counts, function(x) calcNormFactors(x, method = "TMM")),
  vst = list("DESeq2", data_set, function(x) assay(vst(x))),
  vst_full = list("DESeq2", data_set, function(x) assay(varianceStabilizingTransformation(x))),
  combat = list("sva", log_cpm, function(x) ComBat(x, batch)),
  combat_seq = list("sva", counts, function(x) ComBat_seq(x, batch)),
  combat_seq_group = list("sva", counts, function(x) ComBat_seq(x, batch, group = condition))
)
task <- tasks[[method]]
suppressPackageStartupMessages(library(task[[1]], character.only = TRUE))
data <- task[[2]]()
seconds <- c()
while (length(seconds) == 0 || (seconds[1] < 30 && length(seconds) <= 3)) {
  answer <- NULL
  invisible(gc())
  start <- proc.time()[["elapsed"]]
  capture.output(answer <- suppressMessages(task[[3]](data)))
  seconds <- c(seconds, proc.time()[["elapsed"]] - start)
}
writeBin(as.double(answer), file.path(folder, paste0("R-", method, ".f64")))
version <- paste(task[[1]], packageVersion(task[[1]]))
cat(sprintf("{\"seconds\": [%s], \"version\": \"%s\"}\n", paste(seconds, collapse = ", "), version))
