"""Cox-Reid adjusted profile likelihood of a negative binomial dispersion, gene by gene.

The likelihood is that of edgeR's `adjustedProfileLik` (McCarthy, Chen & Smyth 2012, Nucleic Acids
Research 40:4288), its logarithms joined so that no large numbers are subtracted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.fast_log import fast_log
from levelseq.normalize.gamma_functions import lgamma
from levelseq.normalize.kernel_loops import fill, total
from levelseq.normalize.negative_binomial_glm import (
    LEAST_COEFFICIENT,
    fit_cell,
    fit_damped,
)

__all__ = ["cell_likelihoods", "damped_likelihoods", "half_log_determinant"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_STEPS, _GAIN = 250, 1e-6
_STIRLING_FROM = 10
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_LEAST_PIVOT = 1e-10
_BUNCH_KAUFMAN = (1 + math.sqrt(17)) / 8


@kernel
def _stirling_series(z: float) -> float:
    """What Stirling's formula for log gamma lacks, above 10."""
    r = 1.0 / z
    r2 = r * r
    series = 691.0 / 360360.0 - r2 / 156.0
    series = 1.0 / 1188.0 - r2 * series
    series = 1.0 / 1680.0 - r2 * series
    series = 1.0 / 1260.0 - r2 * series
    series = 1.0 / 360.0 - r2 * series
    return r * (1.0 / 12.0 - r2 * series)


@kernel
def _size_terms(y_S: F64, mean_S: F64, size: float, terms_S: F64) -> float:
    """Log likelihood of samples, but for `_count_terms`.

    The gamma functions are split by Stirling's formula and their logarithms joined to those of
    the means, so that no large numbers are subtracted.
    """
    n = len(y_S)
    for j in range(n):
        z = y_S[j] + size
        series = _stirling_series(z) if z >= _STIRLING_FROM else 0.0
        terms_S[j] = z * fast_log(z / (mean_S[j] + size)) - 0.5 * fast_log(z) + series
    sum_of_terms = total(terms_S[:n])
    if size >= _STIRLING_FROM:
        return sum_of_terms + n * (0.5 * math.log(size) - _stirling_series(size))
    # What the formula lacks, for the counts that are too small for the series.
    lack = np.full(_STIRLING_FROM, _HALF_LOG_TWO_PI)
    log_gamma_size = lgamma(size)
    log_gamma = log_gamma_size
    for k in range(_STIRLING_FROM):
        z = size + k
        if z < _STIRLING_FROM:
            lack[k] = log_gamma - (z - 0.5) * math.log(z) + z
        log_gamma += math.log(z)
    lacking = 0.0
    for j in range(n):
        lacking += lack[int(y_S[j])] if y_S[j] < _STIRLING_FROM else _HALF_LOG_TWO_PI
    size_part = size * math.log(size) - size - log_gamma_size
    return sum_of_terms + lacking + n * size_part


@kernel
def _count_terms(y_S: F64, mean_S: F64, terms_S: F64) -> float:
    """Log likelihood of samples: terms in which the size does not occur."""
    n = len(y_S)
    for j in range(n):
        y = max(y_S[j], 1.0)
        rest = -_HALF_LOG_TWO_PI - 0.5 * fast_log(y) - _stirling_series(y)
        terms_S[j] = y_S[j] * fast_log(mean_S[j] / y) + (rest if y >= _STIRLING_FROM else 0.0)
    value = total(terms_S[:n])
    for j in range(n):
        y = y_S[j]
        if 0.0 < y < _STIRLING_FROM:
            value += y * math.log(y) - y - lgamma(y + 1.0)
    return value


@kernel
def _adjustment(weight_C: F64, rows_CK: F64) -> float:
    """Half the log determinant of the information, from the weight of each cell."""
    n = rows_CK.shape[1]
    a = np.zeros((n, n))
    for c in range(len(rows_CK)):
        for i in range(n):
            for k in range(n):
                a[i, k] += rows_CK[c, i] * rows_CK[c, k] * weight_C[c]
    return half_log_determinant(a)


@kernel
def half_log_determinant(a: F64) -> float:
    """Half the log determinant of an information matrix, its least pivots held at 1e-10.

    Elimination from the last column on, with the diagonal pivots of Bunch & Kaufman (1977), as
    in LAPACK's `dsytrf`: which pivots are least depends on the order. The matrix is used up.
    """
    n = len(a)
    if n == 1:
        return math.log(abs(a[0, 0])) / 2
    value = 0.0
    for k in range(n - 1, -1, -1):
        largest = 0
        for i in range(1, k):
            if abs(a[i, k]) > abs(a[largest, k]):
                largest = i
        if k > 0 and abs(a[k, k]) < _BUNCH_KAUFMAN * abs(a[largest, k]):
            _exchange_if_better(a, k, largest)
        pivot = a[k, k]
        if pivot != 0.0:
            inverse = 1.0 / pivot
            for m in range(k):
                scaled = -inverse * a[m, k]
                for i in range(k):
                    a[i, m] += a[i, k] * scaled
    for k in range(n):
        value += math.log(a[k, k]) if a[k, k] >= _LEAST_PIVOT else math.log(_LEAST_PIVOT)
    return value * 0.5


@kernel
def _exchange_if_better(a: F64, k: int, other: int) -> None:
    """Exchange two rows and columns of the leading part, where the other pivot is safer."""
    in_column = abs(a[other, k])
    in_row = 0.0
    for i in range(k + 1):
        if i != other:
            in_row = max(in_row, abs(a[i, other]))
    if abs(a[k, k]) >= _BUNCH_KAUFMAN * in_column * (in_column / in_row):
        return
    for i in range(k + 1):
        a[i, k], a[i, other] = a[i, other], a[i, k]
    for i in range(k + 1):
        a[k, i], a[other, i] = a[other, i], a[k, i]


@kernel
def cell_likelihoods(
    y_GS: F64,
    scale_S: F64,
    samples: tuple[int, int],
    rows_CK: F64,
    start_C1: Int,
    dispersion_G: F64,
    beta_GC: F64,
    centre_GC: F64,
    fixed_GC: F64,
    value_G: F64,
) -> None:
    """Adjusted profile log likelihood of each gene at its dispersion, for a one-way layout.

    Args:
        y_GS: counts of whole genes, samples ordered by cell.
        scale_S: library sizes.
        samples: first and last but one that count.
        rows_CK, start_C1: the cells; starts are counted from the first sample.
        dispersion_G: where to evaluate; NaN: a gene to leave out.
        beta_GC: log mean of each cell; where to start from, and the answer; NaN: anew.
        centre_GC: a log mean near it that stays the same; NaN: set to the answer.
        fixed_GC: terms without size of the likelihood at `centre_GC`, set with it.
        value_G: the answer; 0 where left out.
    """
    scale = scale_S[samples[0] : samples[1]]
    mean, work, weight = np.empty(len(scale)), np.empty((2, len(scale))), np.empty(len(rows_CK))
    for g in range(len(y_GS)):
        y, phi = y_GS[g, samples[0] : samples[1]], dispersion_G[g]
        value_G[g] = 0.0
        if math.isnan(phi):
            continue
        value = 0.0
        for c in range(len(rows_CK)):
            a, b = start_C1[c], start_C1[c + 1]
            y_c, scale_c, mean_c, work_c = y[a:b], scale[a:b], mean[a:b], work[0, : b - a]
            beta = beta_GC[g, c]
            if beta != -math.inf:
                beta = fit_cell(y_c, scale_c, phi, beta, work)
            beta_GC[g, c] = beta
            weight[c] = 0.0
            if beta < LEAST_COEFFICIENT:
                continue
            level = math.exp(beta)
            for j in range(b - a):
                mean_c[j] = level * scale_c[j]
                work_c[j] = mean_c[j] / (1.0 + phi * mean_c[j])
            weight[c] = total(work_c)
            if math.isnan(centre_GC[g, c]):
                centre_GC[g, c] = beta
                fixed_GC[g, c] = _count_terms(y_c, mean_c, work_c)
            value += _size_terms(y_c, mean_c, 1.0 / phi, work_c) + fixed_GC[g, c]
            value += (beta - centre_GC[g, c]) * total(y_c)
        value_G[g] = value - _adjustment(weight, rows_CK)


@kernel
def damped_likelihoods(
    y_GS: F64,
    scale_S: F64,
    samples: tuple[int, int],
    rows_CK: F64,
    start_C1: Int,
    null_K: F64,
    dispersion_G: F64,
    value_G: F64,
) -> None:
    """As `cell_likelihoods`, for designs that are no one-way layout."""
    scale = scale_S[samples[0] : samples[1]]
    n, n_cells = len(scale), len(rows_CK)
    mean, phi_S, work = np.empty(n), np.empty(n), np.empty((4, n))
    weight, beta = np.empty(n_cells), np.empty(len(null_K))
    limits = (_STEPS, _GAIN)
    for g in range(len(y_GS)):
        y, phi = y_GS[g, samples[0] : samples[1]], dispersion_G[g]
        value_G[g] = 0.0
        if math.isnan(phi):
            continue
        fill(phi_S, phi)
        fit_damped(y, scale, phi_S, rows_CK, start_C1, null_K, limits, beta, mean, work)
        value = _size_terms(y, mean, 1.0 / phi, work[0])
        value += _count_terms(y, mean, work[0])
        for j in range(n):
            work[0, j] = mean[j] / (1.0 + phi * mean[j])
        for c in range(n_cells):
            weight[c] = total(work[0, start_C1[c] : start_C1[c + 1]])
        value_G[g] = value - _adjustment(weight, rows_CK)
