# Surrogate variables by sva 3.46 on the counts beside this file; run from the repository's root.
suppressMessages({library(sva); library(limma)})
folder <- "tests/golden/r"
counts <- as.matrix(read.csv(file.path(folder, "counts.csv"), row.names = 1))
samples <- read.csv(file.path(folder, "samples.csv"))
varying <- apply(counts, 1, function(x) max(x) > min(x))
values <- log(counts[varying, ] + 1)
mod <- model.matrix(~condition, samples)
mod0 <- model.matrix(~1, samples)
aged <- model.matrix(~condition + age, samples)
age0 <- model.matrix(~age, samples)

write <- function(table, id) {
  is_real <- vapply(table, is.double, TRUE)
  table[is_real] <- lapply(table[is_real], function(x) formatC(x, digits = 15, format = "g", width = 1))
  write.csv(table, file.path(folder, paste0("sva_", id, ".csv")), row.names = FALSE, quote = FALSE)
}
quiet <- function(call) { capture.output(value <- suppressWarnings(call)); value }

controls <- (seq_len(nrow(values)) %% 7) / 6
found <- list(
  irw = quiet(svaseq(counts[varying, ], mod, mod0, n.sv = 3)),
  aged = quiet(sva(values, aged, age0, n.sv = 2)),
  first = quiet(sva(values, mod, n.sv = 1)),
  filtered = quiet(sva(values, mod, mod0, n.sv = 2, vfilter = 120)),
  steps = quiet(sva(values, mod, mod0, n.sv = 3, method = "two-step")),
  controls = quiet(sva(values, mod, mod0, n.sv = 2, controls = controls))
)
surrogates <- do.call(cbind, lapply(found, function(x) x$sv))
colnames(surrogates) <- unlist(lapply(names(found), function(n) paste0(n, seq_len(found[[n]]$n.sv))))
write(data.frame(sample = samples$sample, surrogates), "surrogates")

p <- f.pvalue(values, mod, mod0)
write(data.frame(gene = rownames(values), p = p, lfdr = sva:::edge.lfdr(p),
                 surrogate = found$irw$pprob.gam, design = found$irw$pprob.b,
                 steps = as.double(found$steps$pprob.gam)), "genes")

removed <- removeBatchEffect(values, covariates = found$irw$sv, design = mod)[seq(1, nrow(values), 7), ]
write(data.frame(gene = rownames(removed), removed), "removed")

# Few genes, so that the number hangs on which permutations are drawn.
numbers <- data.frame()
for (design in c("condition", "age", "one")) for (start in c(1L, 41L, 71L, 101L, 141L)) {
  x <- list(condition = mod, age = aged, one = mod0)[[design]]
  for (seed in 1:3) {
    n <- num.sv(log(counts[start + 0:24, ] + 1), x, method = "be", B = 20, seed = seed)
    numbers <- rbind(numbers, data.frame(design, start, seed, filter = 0L, n = as.integer(n)))
  }
}
n <- num.sv(log(counts + 1), mod, method = "be", B = 20, seed = 1, vfilter = 110)
numbers <- rbind(numbers, data.frame(design = "condition", start = 1L, seed = 1L, filter = 110L,
                                     n = as.integer(n)))
write(numbers, "numbers")

old <- 1:13
state <- quiet(sva(values[, old], mod[old, ], mod0[old, , drop = FALSE], n.sv = 2))
ways <- lapply(c("exact", "fast"), function(way)
  fsva(values[, old], mod[old, ], state, values[, -old], method = way))
frozen <- cbind(ways[[1]]$newsv, ways[[2]]$newsv, t(ways[[1]]$new[c(1, 50, 100), ]))
colnames(frozen) <- c("exact1", "exact2", "fast1", "fast2", rownames(values)[c(1, 50, 100)])
write(data.frame(sample = samples$sample[-old], frozen), "frozen")

x <- c(seq(0, 9, length.out = 260), 10 + seq(0, 2, length.out = 60)^2)
y <- sin(x) + cos(7 * x) / 5
spline <- smooth.spline(x, y)
at <- c(-1, -0.1, seq(0, 14, length.out = 30), 15)
write(data.frame(at, value = predict(spline, at)$y, spar = spline$spar), "spline")

traces <- data.frame()
for (n in 8:18) for (numbers in c("age", "age2")) {
  x <- aged[1:n, ]
  if (numbers == "age2") x <- cbind(x, samples$age[1:n]^2)
  above <- sum(diag(x %*% solve(t(x) %*% x) %*% t(x))) > ncol(x)
  traces <- rbind(traces, data.frame(n, numbers, above = as.integer(above)))
}
write(traces, "traces")
