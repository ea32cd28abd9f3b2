"""Log posterior of a gene's log dispersion and its slope, compiled.

The negative binomial likelihood with Cox and Reid's adjustment (Cox & Reid 1987; McCarthy, Chen
& Smyth 2012), as DESeq2 has it. Near a maximum, and for small dispersions, DESeq2's search turns on
the rounding of these sums, so each term is formed and added in R's order: for an intercept alone
they are R's to the last bit. Equal counts of a gene share their gamma functions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.power import inverse, inverse_square
from levelseq.normalize.r_gamma import r_digamma, r_lgamma

__all__ = [
    "Counts",
    "Design",
    "distinct",
    "factorize",
    "inverses",
    "slope",
    "trace_of_ratio",
    "value",
    "weighted",
]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Counts = tuple[F64, F64, F64, F64, I64]
"""A gene's counts (S,), their expectations (S,) and the inverses of those (S,), its distinct counts
(U,) and each sample's place among them (S,)."""
Design = tuple[I64, F64]
"""Each sample's place among the distinct rows of the design matrix (S,), and those rows (N, K)."""

_FEW_COUNTS = 4096


@kernel
def inverses(mu_S: F64, inverse_S: F64) -> None:
    """Write the inverses of a gene's expectations."""
    for s in range(len(mu_S)):
        inverse_S[s] = inverse(mu_S[s])


@kernel
def distinct(y_S: F64, count_U: F64, place_S: I64) -> int:
    """Write a gene's distinct counts and each sample's place among them; gives how many there are.

    Where counts are too large to be looked up, all of them count as distinct.
    """
    n = len(y_S)
    highest = y_S.max()
    if highest >= max(_FEW_COUNTS, 8 * n):
        for s in range(n):
            count_U[s], place_S[s] = y_S[s], s
        return n
    place = np.full(int(highest) + 1, -1, dtype=np.int64)
    found = 0
    for s in range(n):
        c = int(y_S[s])
        if place[c] < 0:
            place[c] = found
            count_U[found] = y_S[s]
            found += 1
        place_S[s] = place[c]
    return found


@kernel
def value(
    log_alpha: float, counts: Counts, design: Design, prior: tuple[float, float], work_2S: F64
) -> float:
    """Log posterior of a log dispersion, up to a constant.

    Args:
        log_alpha: where.
        counts: of a gene.
        design: of the samples.
        prior: mean and variance of the log dispersion; a variance of 0: no prior.
        work_2S: scratch; its first row is left for `slope` at the same place.
    """
    y_S, mu_S, inverse_S, count_U, place_S = counts
    alpha = math.exp(log_alpha)
    r = 1.0 / alpha
    lg = r_lgamma(r)
    for u in range(len(count_U)):
        work_2S[1, u] = r_lgamma(count_U[u] + r) - lg
    total = 0.0
    for s in range(len(y_S)):
        log_q = math.log(1.0 + mu_S[s] * alpha)
        work_2S[0, s] = log_q
        total += work_2S[1, place_S[s]] - y_S[s] * math.log(mu_S[s] + r) - r * log_q
    if prior[1] > 0.0:
        total += -0.5 * (log_alpha - prior[0]) ** 2 / prior[1]
    return total + _adjustment(alpha, inverse_S, design)


@kernel
def slope(
    log_alpha: float, counts: Counts, design: Design, prior: tuple[float, float], work_2S: F64
) -> float:
    """Slope of `value`, which must have been called at the same place with the same scratch."""
    y_S, mu_S, inverse_S, count_U, place_S = counts
    alpha = math.exp(log_alpha)
    r = 1.0 / alpha
    dg = r_digamma(r)
    for u in range(len(count_U)):
        work_2S[1, u] = r_digamma(count_U[u] + r)
    total = 0.0
    for s in range(len(y_S)):
        z = mu_S[s] * alpha
        term = dg + work_2S[0, s] - z * inverse(1.0 + z) - work_2S[1, place_S[s]]
        total += term + y_S[s] * inverse(mu_S[s] + r)
    total *= 1.0 / (alpha * alpha)
    along = (total + _adjustment_slope(alpha, inverse_S, design)) * alpha
    if prior[1] > 0.0:
        along += -(log_alpha - prior[0]) / prior[1]
    return along


@kernel
def _adjustment(alpha: float, inverse_S: F64, design: Design) -> float:
    """Cox and Reid's -log(det(X'WX)) / 2."""
    row_S, row_NK = design
    n, k = row_NK.shape
    if n == 1:
        total = 0.0
        for one_over_mu in inverse_S:
            total += inverse(one_over_mu + alpha)
        return -0.5 * math.log(total)
    b_KK = weighted(row_NK, _weights(alpha, inverse_S, row_S, n)[0])
    factorize(b_KK)
    log_det = 0.0
    for p in range(k):
        log_det += 2.0 * math.log(b_KK[p, p])
    return -0.5 * log_det


@kernel
def _adjustment_slope(alpha: float, inverse_S: F64, design: Design) -> float:
    """Its slope along the dispersion."""
    row_S, row_NK = design
    n = len(row_NK)
    if n == 1:
        b, db = 0.0, 0.0
        for one_over_mu in inverse_S:
            t = one_over_mu + alpha
            b += inverse(t)
            db -= inverse_square(t)
        return -0.5 * (b * (1.0 / b * db)) / b
    w_2N = _weights(alpha, inverse_S, row_S, n)
    b_KK = weighted(row_NK, w_2N[0])
    factorize(b_KK)
    return -0.5 * trace_of_ratio(b_KK, weighted(row_NK, w_2N[1]))


@kernel
def _weights(alpha: float, inverse_S: F64, row_S: I64, n: int) -> F64:
    """Sums of weights, and of their slopes, over the samples of each distinct row (2, N)."""
    w_2N = np.zeros((2, n))
    for s in range(len(inverse_S)):
        w = 1.0 / (inverse_S[s] + alpha)
        w_2N[0, row_S[s]] += w
        w_2N[1, row_S[s]] -= w * w
    return w_2N


@kernel
def weighted(row_NK: F64, w_N: F64) -> F64:
    """Lower half of X'WX."""
    n, k = row_NK.shape
    b_KK = np.zeros((k, k))
    for i in range(n):
        for p in range(k):
            for q in range(p + 1):
                b_KK[p, q] += row_NK[i, p] * row_NK[i, q] * w_N[i]
    return b_KK


@kernel
def factorize(b_KK: F64) -> None:
    """Cholesky's lower factor, in place."""
    for p in range(len(b_KK)):
        for q in range(p + 1):
            total = b_KK[p, q]
            for t in range(q):
                total -= b_KK[p, t] * b_KK[q, t]
            b_KK[p, q] = math.sqrt(total) if p == q else total / b_KK[q, q]


@kernel
def trace_of_ratio(l_KK: F64, d_KK: F64) -> float:
    """Trace of inv(L L') D, from the lower halves of L and a symmetric D."""
    k = len(l_KK)
    inverse = np.zeros((k, k))
    for j in range(k):
        for i in range(j, k):
            total = 1.0 if i == j else 0.0
            for t in range(j, i):
                total -= l_KK[i, t] * inverse[t, j]
            inverse[i, j] = total / l_KK[i, i]
    trace = 0.0
    for p in range(k):
        for q in range(p + 1):
            c = 0.0
            for i in range(p, k):
                c += inverse[i, p] * inverse[i, q]
            trace += c * d_KK[p, q] * (1.0 if p == q else 2.0)
    return trace
