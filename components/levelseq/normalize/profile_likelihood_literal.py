"""The adjusted profile likelihood with edgeR's own rounding errors.

At small dispersions the logarithms of gamma functions cancel, and what is left of edgeR's sum over
genes trembles with the last digits of the dispersion: where its search for the common one ends
depends on them. Here every sum and logarithm is taken in edgeR's order, with the same functions of
the C library, so that the search goes the same way.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.kernel_loops import fill
from levelseq.normalize.negative_binomial_glm import CELL_STEPS, CELL_TOLERANCE
from levelseq.normalize.profile_likelihood import half_log_determinant

__all__ = ["literal_likelihoods", "log_gamma_table"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_c_lgamma: Any = types.ExternalFunction("lgamma", types.float64(types.float64))


@kernel
def log_gamma_table(size: float, table_2N: F64) -> None:
    """The C library's log gamma of k + 1 and of k + size, for k from 0."""
    for k in range(table_2N.shape[1]):
        table_2N[0, k] = _c_lgamma(k + 1.0)
        table_2N[1, k] = _c_lgamma(k + size)


@kernel
def _fit_cell(y_S: F64, offset_S: F64, start: int, stop: int, dispersion: float) -> float:
    """As `negative_binomial_glm.fit_cell`, sample after sample."""
    ratio = 0.0
    for j in range(start, stop):
        if y_S[j] > 0.0:
            ratio += y_S[j] / math.exp(offset_S[j])
    if ratio == 0.0:
        return -math.inf
    beta = math.log(ratio / (stop - start))
    for _ in range(CELL_STEPS):
        score, information = 0.0, 0.0
        for j in range(start, stop):
            mean = math.exp(beta + offset_S[j])
            variance = 1.0 + mean * dispersion
            score += (y_S[j] - mean) / variance
            information += mean / variance
        step = score / information
        beta += step
        if abs(step) < CELL_TOLERANCE:
            break
    return beta


@kernel
def _log_likelihood(y: float, mean: float, size: float, of_size: F64, table_2N: F64) -> float:
    """Of one count."""
    k = int(y)
    if k < table_2N.shape[1]:
        choices, both = table_2N[0, k], table_2N[1, k]
    else:
        choices, both = _c_lgamma(y + 1.0), _c_lgamma(y + size)
    log_both = math.log(mean + size)
    value = y * math.log(mean) - y * log_both + of_size[0] - size * log_both
    return float(value + both - choices - of_size[1])


@kernel
def literal_likelihoods(
    y_GS: F64,
    offset_S: F64,
    samples: tuple[int, int],
    given_S: Int,
    rows_CK: F64,
    start_C1: Int,
    dispersion_G: F64,
    table_2N: F64,
    value_G: F64,
) -> None:
    """As `profile_likelihood.cell_likelihoods`, from scratch.

    Args:
        y_GS, samples, rows_CK, start_C1, dispersion_G, value_G: as there; one dispersion for all.
        offset_S: logs of the libraries.
        given_S: the samples, counted from the first, in the order in which they were given.
        table_2N: of `log_gamma_table`.
    """
    offset = offset_S[samples[0] : samples[1]]
    n, n_columns = len(offset), rows_CK.shape[1]
    mean, cell_S = np.empty(n), np.empty(n, dtype=np.int64)
    information, of_size = np.empty((n_columns, n_columns)), np.empty(2)
    for g in range(len(y_GS)):
        y, phi = y_GS[g, samples[0] : samples[1]], dispersion_G[g]
        value_G[g] = 0.0
        if math.isnan(phi):
            continue
        size = 1.0 / phi
        of_size[0], of_size[1] = size * math.log(size), _c_lgamma(size)
        for c in range(len(rows_CK)):
            beta = _fit_cell(y, offset, start_C1[c], start_C1[c + 1], phi)
            for j in range(start_C1[c], start_C1[c + 1]):
                cell_S[j] = c
                mean[j] = math.exp(beta + offset[j])
        value = 0.0
        for k in range(n_columns):
            fill(information[k], 0.0)
        for j in given_S:
            if mean[j] == 0.0:
                continue
            value += _log_likelihood(y[j], mean[j], size, of_size, table_2N)
            weight, row = mean[j] / (1.0 + phi * mean[j]), rows_CK[cell_S[j]]
            for i in range(n_columns):
                for k in range(n_columns):
                    information[i, k] += row[i] * row[k] * weight
        value_G[g] = value - half_log_determinant(information)
