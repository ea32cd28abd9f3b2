"""Negative binomial regressions with a log link, gene by gene, as edgeR fits them.

Two ways: cell by cell where the design is a one-way layout, Levenberg's damped scoring where it
is not (McCarthy, Chen & Smyth 2012, Nucleic Acids Research 40:4288). Starting values, damping and
stopping rules are those of edgeR 3.40's `mglmOneGroup` and `mglmLevenberg`, since the second
stops early and what follows is rounded to counts.

Samples come ordered by cell (samples with the same row of the design), so that a cell is a slice.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.fast_log import fast_log
from levelseq.normalize.kernel_loops import copy, fill, total

__all__ = [
    "CELL_STEPS",
    "CELL_TOLERANCE",
    "LEAST_COEFFICIENT",
    "deviance",
    "fit_cell",
    "fit_damped",
]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

CELL_STEPS, CELL_TOLERANCE = 50, 1e-10
LEAST_COEFFICIENT = -1e8
_ZERO_COUNT = 1e-10
_TINY = 1e-13
_LEAST_DAMPING = 1e-100


@kernel
def fit_cell(y_S: F64, scale_S: F64, dispersion: float, beta: float, work_2S: F64) -> float:
    """Log mean per unit of scale of a cell's samples; -inf when they are all zero.

    Samples come as slices from 0: numba asks of a loop that starts elsewhere whether its places
    are negative, and then it runs on no vectors.

    Args:
        y_S: counts; scale_S: what the mean is multiplied with, such as library sizes.
        dispersion: of all.
        beta: where to start; NaN: at the log of the mean ratio, as edgeR.
        work_2S: room.
    """
    n = len(y_S)
    score, weight = work_2S[0, :n], work_2S[1, :n]
    if math.isnan(beta):
        ratio = 0.0
        for j in range(n):
            if y_S[j] > _ZERO_COUNT:
                ratio += y_S[j] / scale_S[j]
        if ratio == 0.0:
            return -math.inf
        beta = math.log(ratio / n)
    for _ in range(CELL_STEPS):
        level = math.exp(beta)
        for j in range(n):
            mean = level * scale_S[j]
            share = 1.0 / (1.0 + mean * dispersion)
            score[j] = (y_S[j] - mean) * share
            weight[j] = mean * share
        step = total(score) / total(weight)
        beta += step
        if abs(step) < CELL_TOLERANCE:
            break
    return beta


@kernel
def deviance(y_S: F64, mean_S: F64, dispersion_S: F64, terms_S: F64) -> float:
    """Residual deviance of a gene: Poisson's, gamma's or between, as edgeR's `nbinomDeviance`."""
    for j in range(len(y_S)):
        y = y_S[j] + 1e-8
        mean = mean_S[j] + 1e-8
        phi = dispersion_S[j]
        log_ratio = fast_log(y / mean)
        if phi < 1e-4:
            rest = y - mean
            value = y * log_ratio - rest + 0.5 * rest * rest * phi * (phi * y - 1.0)
        elif mean * phi > 1e6:
            value = ((y - mean) / mean - log_ratio) * mean / (1.0 + mean * phi)
        else:
            size = 1.0 / phi
            value = y * log_ratio + (y + size) * fast_log((mean + size) / (y + size))
        terms_S[j] = 2.0 * value
    return total(terms_S)


@kernel
def _means(beta_K: F64, rows_CK: F64, start_C1: Int, scale_S: F64, mean_S: F64) -> None:
    for c in range(len(rows_CK)):
        eta = 0.0
        for k in range(len(beta_K)):
            eta += rows_CK[c, k] * beta_K[k]
        level = math.exp(eta)
        mean, scale = mean_S[start_C1[c] : start_C1[c + 1]], scale_S[start_C1[c] : start_C1[c + 1]]
        for j in range(len(mean)):
            mean[j] = level * scale[j]


@kernel
def _null_start(y_S: F64, scale_S: F64, dispersion_S: F64, work_2S: F64) -> float:
    """Log of the weighted mean ratio of counts to scale."""
    n = len(y_S)
    for j in range(n):
        share = 1.0 / (1.0 + dispersion_S[j] * scale_S[j])
        work_2S[0, j] = y_S[j] * share
        work_2S[1, j] = scale_S[j] * share
    return math.log(total(work_2S[0]) / total(work_2S[1]))


@kernel
def _information(
    y_S: F64,
    mean_S: F64,
    dispersion_S: F64,
    rows_CK: F64,
    start_C1: Int,
    work_2S: F64,
    information_KK: F64,
    score_K: F64,
) -> None:
    """Expected information of the coefficients (upper triangle), and the score."""
    for j in range(len(y_S)):
        share = 1.0 / (1.0 + mean_S[j] * dispersion_S[j])
        work_2S[0, j] = mean_S[j] * share
        work_2S[1, j] = (y_S[j] - mean_S[j]) * share
    n = len(score_K)
    fill(score_K, 0.0)
    for k in range(n):
        fill(information_KK[k], 0.0)
    for c in range(len(rows_CK)):
        weight = total(work_2S[0, start_C1[c] : start_C1[c + 1]])
        score = total(work_2S[1, start_C1[c] : start_C1[c + 1]])
        for k in range(n):
            if rows_CK[c, k] == 0.0:
                continue
            score_K[k] += score * rows_CK[c, k]
            for i in range(k + 1):
                information_KK[i, k] += rows_CK[c, i] * rows_CK[c, k] * weight


@kernel
def _factorized(information_KK: F64, damping: float, factor_KK: F64) -> bool:
    """Cholesky's factor (upper) of the damped information; whether there is one."""
    n = len(information_KK)
    for k in range(n):
        for i in range(k + 1):
            value = information_KK[i, k] + (damping if i == k else 0.0)
            for m in range(i):
                value -= factor_KK[m, i] * factor_KK[m, k]
            if i < k:
                factor_KK[i, k] = value / factor_KK[i, i]
            elif value > 0.0:
                factor_KK[k, k] = math.sqrt(value)
            else:
                return False
    return True


@kernel
def _solved(factor_KK: F64, score_K: F64, step_K: F64) -> None:
    n = len(score_K)
    for k in range(n):
        value = score_K[k]
        for m in range(k):
            value -= factor_KK[m, k] * step_K[m]
        step_K[k] = value / factor_KK[k, k]
    for k in range(n - 1, -1, -1):
        value = step_K[k]
        for m in range(k + 1, n):
            value -= factor_KK[k, m] * step_K[m]
        step_K[k] = value / factor_KK[k, k]


@kernel
def fit_damped(
    y_S: F64,
    scale_S: F64,
    dispersion_S: F64,
    rows_CK: F64,
    start_C1: Int,
    null_K: F64,
    limits: tuple[int, float],
    beta_K: F64,
    mean_S: F64,
    work_4S: F64,
) -> None:
    """Coefficients and means of a gene with any counts, by damped scoring from the null model.

    Args:
        y_S, scale_S, dispersion_S: counts, what means are multiplied with, dispersions.
        rows_CK, start_C1, null_K: of the layout.
        limits: most steps, and the gain in deviance below which to stop.
        beta_K, mean_S: the answer.
        work_4S: room.
    """
    n = len(beta_K)
    information, factor = np.empty((n, n)), np.empty((n, n))
    score, step, beta_new = np.empty(n), np.empty(n), np.empty(n)
    mean_new = work_4S[3]
    y_max = 0.0
    for j in range(len(y_S)):
        y_max = max(y_max, y_S[j])
    null = _null_start(y_S, scale_S, dispersion_S, work_4S)
    for k in range(n):
        beta_K[k] = null_K[k] * null
    _means(beta_K, rows_CK, start_C1, scale_S, mean_S)
    now = deviance(y_S, mean_S, dispersion_S, work_4S[2])
    most, damping = -1.0, 0.0
    for iteration in range(limits[0]):
        _information(y_S, mean_S, dispersion_S, rows_CK, start_C1, work_4S, information, score)
        for k in range(n):
            most = max(most, information[k, k])
        if iteration == 0:
            damping = max(most * 1e-6, _TINY)
        tries, small, failed = 0, False, False
        while True:
            tries += 1
            while not _factorized(information, damping, factor) and damping < math.inf:
                damping = damping * 2 if damping > 0 else _LEAST_DAMPING
            _solved(factor, score, step)
            for k in range(n):
                beta_new[k] = beta_K[k] + step[k]
            _means(beta_new, rows_CK, start_C1, scale_S, mean_new)
            after = deviance(y_S, mean_new, dispersion_S, work_4S[2])
            small = after / y_max < _TINY
            if after <= now or small:
                copy(beta_new, beta_K)
                copy(mean_new, mean_S)
                now = after
                break
            damping = damping * 2 if damping > 0 else _LEAST_DAMPING
            if damping / most > 1 / _TINY:
                failed = True
                break
        gain = 0.0
        for k in range(n):
            gain += score[k] * step[k]
        if failed or small or gain < limits[1]:
            break
        if tries == 1:
            damping /= 10
