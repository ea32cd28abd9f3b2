# Dispersions, trends, variance stabilized values and iterated size factors by DESeq2 1.38.3.
# Run from the repository's root: Rscript tests/golden/r/vst.R
suppressMessages(library(DESeq2))
here <- "tests/golden/r/"
counts <- as.matrix(read.csv(paste0(here, "counts.csv"), row.names = 1))
samples <- read.csv(paste0(here, "samples.csv"), row.names = 1)
samples$batch <- factor(samples$batch)
samples$condition <- factor(samples$condition)
few <- c(1, 8, ncol(counts))

write <- function(id, table) {
  digits <- as.data.frame(lapply(table, function(x) trimws(formatC(x, digits = 15, format = "g"))))
  out <- cbind(name = rownames(table), digits)
  write.csv(out, paste0(here, "vst_", id, ".csv"), row.names = FALSE, quote = FALSE)
}

blind <- DESeqDataSetFromMatrix(counts, samples, ~1)
sizeFactors(blind) <- estimateSizeFactorsForMatrix(counts)
write("size", data.frame(
  ratio = sizeFactors(blind),
  iterate = sizeFactors(estimateSizeFactors(blind, type = "iterate")),
  row.names = colnames(counts)
))
designed <- blind
design(designed) <- ~ batch + condition
groups <- blind
design(groups) <- ~condition
genes <- lapply(list(blind, groups, designed), estimateDispersionsGeneEst, quiet = TRUE)
write("gene", data.frame(
  mean = mcols(genes[[1]])$baseMean, blind = mcols(genes[[1]])$dispGeneEst,
  groups = mcols(genes[[2]])$dispGeneEst, designed = mcols(genes[[3]])$dispGeneEst,
  row.names = rownames(counts)
))
for (trend in c("parametric", "local", "mean")) {
  fit <- estimateDispersionsFit(genes[[1]], fitType = trend, quiet = TRUE)
  write(trend, as.data.frame(getVarianceStabilizedData(fit))[, few])
}
write("designed", as.data.frame(assay(
  varianceStabilizingTransformation(designed, blind = FALSE)
))[, few])
write("subset", as.data.frame(assay(vst(blind, nsub = 60)))[, few])
