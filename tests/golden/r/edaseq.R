# Answers of EDASeq and of limma's and R's own functions under it, for the counts beside this file.
# From the repository's root:
#   Rscript tests/golden/r/edaseq.R
# Fitted to all samples, written for every sixth.
suppressMessages({
  library(EDASeq)
  library(limma)
})
folder <- "tests/golden/r"
read <- function(name) as.matrix(read.csv(file.path(folder, name), row.names = 1))
all_counts <- read("counts.csv")
kept <- rowMeans(all_counts) > 10
counts <- all_counts[kept, ]
genes <- read("genes.csv")[kept, ]
gc <- genes[, "gc"]
sixth <- seq(1, ncol(counts), 6)

write <- function(values, id) {
  text <- values
  text[] <- sprintf("%.15g", values)
  write.csv(text, quote = FALSE, file.path(folder, paste0("edaseq_", id, ".csv")))
}
# Columns of several answers side by side, named answer:sample.
beside <- function(answers) {
  do.call(cbind, lapply(names(answers), function(name) {
    y <- answers[[name]][, sixth]
    colnames(y) <- paste0(name, ":", colnames(y))
    y
  }))
}
within <- function(which, ...) withinLaneNormalization(counts, gc, which = which, ...)
between <- function(which, ...) betweenLaneNormalization(counts, which = which, ...)

write(beside(list(full = within("full", round = FALSE), loess = within("loess", round = FALSE))),
      "within_shape")
write(beside(list(median = within("median", round = FALSE), upper = within("upper", round = FALSE),
                  seven = within("full", round = FALSE, num.bins = 7))), "within_scale")
write(beside(list(full = within("full"), loess = within("loess"), median = within("median"),
                  upper = within("upper"), between_full = between("full"),
                  between_median = between("median"), between_upper = between("upper"),
                  both = betweenLaneNormalization(within("full"), which = "full"))), "rounded")
write(beside(list(
  length = withinLaneNormalization(counts, genes[, "length"], which = "full", offset = TRUE),
  median = between("median", offset = TRUE))), "offset")
write(beside(list(median = between("median", round = FALSE),
                  upper = between("upper", round = FALSE))), "between")

holes <- log2(all_counts + 1)
holes[(seq_along(holes) * 31) %% 7 == 0] <- NA
write(normalizeQuantiles(holes)[, sixth], "quantile_missing")

# Points that are dense, alone and in heaps, with outliers.
i <- 1:60
x <- round(((i * 37) %% 61)^1.5 / 10, 1)
y <- sin(x / 8) + cos(i) / 5 + ifelse(i %% 13 == 0, 4, 0)
at <- seq(min(x), max(x), length.out = 60)
curve <- function(...) predict(loess(y ~ x, ...), at)
write(cbind(x, y, at, default = curve(), line = curve(span = 0.4, degree = 1),
            mean = curve(span = 0.5, degree = 0), all = curve(span = 1),
            robust = curve(family = "symmetric"),
            robust_line = curve(family = "symmetric", degree = 1, span = 0.5)), "loess")
