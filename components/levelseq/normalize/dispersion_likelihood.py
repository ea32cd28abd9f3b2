"""Log posterior of a gene's log dispersion and its slope in terms that are small and vectorize.

The posterior is that of `dispersion_posterior.py`, which keeps R's rounding. Here the gamma
functions are split by Stirling's formula and their logarithms joined to those of the expectations,
so that no large numbers are subtracted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.dispersion_posterior import Design, factorize, trace_of_ratio, weighted
from levelseq.normalize.fast_log import fast_log
from levelseq.normalize.gamma_functions import digamma, lgamma
from levelseq.normalize.kernel_loops import fill, total

__all__ = ["FEW", "ROWS", "quick_slope", "quick_value"]

F64 = NDArray[np.float64]
QuickCounts = tuple[F64, F64, F64]
"""A gene's counts (S,), their expectations (S,), and how many counts are 0, 1, ... 9 (K,)."""

ROWS = 5
"""Rows of scratch, as long as there are samples."""
FEW = 10
"""Stirling's series serves from here on."""

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@kernel
def quick_value(
    log_alpha: float,
    counts: QuickCounts,
    design: Design,
    prior: tuple[float, float],
    work_5S: F64,
) -> float:
    """Log posterior and the sum of counts; leaves in the scratch what `quick_slope` needs."""
    y_S, mu_S, few_K = counts
    n, r = len(y_S), math.exp(-log_alpha)
    ratio_S, log_S, share_S, inverse_S = work_5S[0], work_5S[1], work_5S[2], work_5S[3]
    term_S = work_5S[4]
    for s in range(n):
        z, m = y_S[s] + r, mu_S[s] + r
        # One division for two: it is what takes the time.
        both = 1.0 / (z * m)
        i, q = both * m, both * z
        u = z * q
        log_u = fast_log(u)
        ratio_S[s], log_S[s], share_S[s], inverse_S[s] = u, log_u, mu_S[s] * q, i
        series = i * _log_gamma_series(i * i) if z >= FEW else 0.0
        term_S[s] = z * log_u - 0.5 * fast_log(z) + series
    value = total(term_S) + _lacking(r, few_K, n)
    if prior[1] > 0.0:
        value -= 0.5 * (log_alpha - prior[0]) ** 2 / prior[1]
    return value - 0.5 * _log_determinant(r, share_S, design)


@kernel
def quick_slope(
    log_alpha: float,
    counts: QuickCounts,
    design: Design,
    prior: tuple[float, float],
    work_5S: F64,
) -> float:
    """Slope of `quick_value`, called before at the same place with the same scratch."""
    y_S, _, few_K = counts
    n, r = len(y_S), math.exp(-log_alpha)
    ratio_S, log_S, share_S, inverse_S = work_5S[0], work_5S[1], work_5S[2], work_5S[3]
    term_S = work_5S[4]
    for s in range(n):
        i = inverse_S[s]
        less = i * (0.5 + i * _digamma_series(i * i)) if y_S[s] + r >= FEW else 0.0
        term_S[s] = log_S[s] + (1.0 - ratio_S[s]) - less
    along = total(term_S) - n * (digamma(r) - math.log(r))
    for k in range(FEW):
        if r + k < FEW and few_K[k] > 0.0:
            along += few_K[k] * (digamma(r + k) - math.log(r + k))
    along *= -r
    if prior[1] > 0.0:
        along -= (log_alpha - prior[0]) / prior[1]
    return along + 0.5 * _determinant_slope(r, share_S, design, term_S)


@kernel
def _lacking(r: float, few_K: F64, n: int) -> float:
    """What all samples share, and what the formula lacks for counts too small for its series."""
    value = n * (r * math.log(r) - r - lgamma(r) + _HALF_LOG_TWO_PI)
    for k in range(FEW):
        z = r + k
        if z < FEW and few_K[k] > 0.0:
            value += few_K[k] * (lgamma(z) - (z - 0.5) * math.log(z) + z - _HALF_LOG_TWO_PI)
    return value


@kernel
def _log_gamma_series(i2: float) -> float:
    """What Stirling's formula for log gamma lacks at z >= 10, times z; i2 is 1 / z^2."""
    series = 691.0 / 360360.0 - i2 / 156.0
    series = 1.0 / 1188.0 - i2 * series
    series = 1.0 / 1680.0 - i2 * series
    series = 1.0 / 1260.0 - i2 * series
    series = 1.0 / 360.0 - i2 * series
    return 1.0 / 12.0 - i2 * series


@kernel
def _digamma_series(i2: float) -> float:
    """log z - 1 / (2 z) - digamma(z) at z >= 10, times z^2; i2 is 1 / z^2."""
    series = 691.0 / 32760.0 - i2 / 12.0
    series = 1.0 / 132.0 - i2 * series
    series = 1.0 / 240.0 - i2 * series
    series = 1.0 / 252.0 - i2 * series
    series = 1.0 / 120.0 - i2 * series
    return 1.0 / 12.0 - i2 * series


@kernel
def _log_determinant(r: float, share_S: F64, design: Design) -> float:
    """log(det(X'WX)) for weights r x share."""
    row_S, row_NK = design
    n, k = row_NK.shape
    if n == 1:
        return math.log(r * total(share_S))
    w_N = np.zeros(n)
    for s in range(len(share_S)):
        w_N[row_S[s]] += r * share_S[s]
    b_KK = weighted(row_NK, w_N)
    factorize(b_KK)
    log_det = 0.0
    for p in range(k):
        log_det += 2.0 * math.log(b_KK[p, p])
    return log_det


@kernel
def _determinant_slope(r: float, share_S: F64, design: Design, work_S: F64) -> float:
    """Slope of -log(det(X'WX)) along the log dispersion."""
    row_S, row_NK = design
    n = len(row_NK)
    if n == 1:
        for s in range(len(share_S)):
            work_S[s] = share_S[s] * share_S[s]
        return total(work_S) / total(share_S)
    w_N, dw_N = np.empty(n), np.empty(n)
    fill(w_N, 0.0)
    fill(dw_N, 0.0)
    for s in range(len(share_S)):
        w_N[row_S[s]] += r * share_S[s]
        dw_N[row_S[s]] += r * share_S[s] * share_S[s]
    b_KK = weighted(row_NK, w_N)
    factorize(b_KK)
    return trace_of_ratio(b_KK, weighted(row_NK, dw_N))
