# Size factors of counts.csv, and of a coarse table made of it that is full of ties and zeros.
# Run from the repository's root: Rscript tests/golden/r/size_factors.R
suppressMessages({
  library(DESeq2)
  library(edgeR)
})
folder <- "tests/golden/r"
counts <- as.matrix(read.csv(file.path(folder, "counts.csv"), row.names = 1))
samples <- read.csv(file.path(folder, "samples.csv"), row.names = 1)

all_factors <- function(x) {
  dds <- DESeqDataSetFromMatrix(x, samples[colnames(x), ], ~1)
  first <- head(which(rowSums(x > 0) == ncol(x)), 20)
  trimmed <- function(method, ...) {
    calcNormFactors(x, method = method, refColumn = 2, logratioTrim = 0.2, sumTrim = 0.1, ...)
  }
  cbind(
    median_of_ratios = estimateSizeFactorsForMatrix(x),
    control_genes = estimateSizeFactorsForMatrix(x, controlGenes = first),
    poscounts = sizeFactors(estimateSizeFactors(dds, type = "poscounts")),
    poscounts_matrix = estimateSizeFactorsForMatrix(x, type = "poscounts"),
    poscounts_control = estimateSizeFactorsForMatrix(x, type = "poscounts", controlGenes = first),
    tmm = calcNormFactors(x),
    tmm_options = trimmed("TMM"),
    tmm_unweighted = trimmed("TMM", doWeighting = FALSE),
    tmmwsp = calcNormFactors(x, method = "TMMwsp"),
    tmmwsp_options = trimmed("TMMwsp"),
    tmmwsp_unweighted = trimmed("TMMwsp", doWeighting = FALSE),
    rle = calcNormFactors(x, method = "RLE"),
    upper_quartile = calcNormFactors(x, method = "upperquartile"),
    upper_quartile_90 = calcNormFactors(x, method = "upperquartile", p = 0.9)
  )
}

write_factors <- function(x, id) {
  table <- format(all_factors(x), digits = 15)
  write.csv(table, file.path(folder, paste0("size_factors_", id, ".csv")), quote = FALSE)
}

coarse <- counts %/% 64 + (counts > 0)
coarse[(row(counts) * 7 + col(counts) * 3) %% 5 == 0 & row(counts) > 40] <- 0
write_factors(counts, "counts")
write_factors(coarse[, 1:7], "coarse")
