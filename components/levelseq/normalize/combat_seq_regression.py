"""The regressions of ComBat-seq: what a gene is without batches, and what each batch adds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.kernel_loops import fill, total
from levelseq.normalize.negative_binomial_glm import (
    LEAST_COEFFICIENT,
    fit_cell,
    fit_damped,
)

__all__ = ["regress"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_STEPS, _GAIN = 250, 1e-6
PRIOR_COUNT = 1e-4


@kernel
def _fit(
    y_S: F64,
    scale_S: F64,
    phi_S: F64,
    rows_CK: F64,
    start_C1: Int,
    null_K: F64,
    inverse_KC: F64,
    beta_K: F64,
    eta_C: F64,
    work_5S: F64,
) -> None:
    """Coefficients of a gene; its log mean in each cell where `inverse_KC` says it is one-way."""
    if inverse_KC.size == 0:
        limits = (_STEPS, _GAIN)
        mean, work = work_5S[4], work_5S[:4]
        fit_damped(y_S, scale_S, phi_S, rows_CK, start_C1, null_K, limits, beta_K, mean, work)
        return
    for c in range(len(rows_CK)):
        a, b = start_C1[c], start_C1[c + 1]
        eta = fit_cell(y_S[a:b], scale_S[a:b], phi_S[a], math.nan, work_5S[:2])
        eta_C[c] = max(eta, LEAST_COEFFICIENT)
    for k in range(len(beta_K)):
        beta_K[k] = 0.0
        for c in range(len(eta_C)):
            beta_K[k] += inverse_KC[k, c] * eta_C[c]


@kernel
def regress(
    y_GS: F64,
    library_S: F64,
    dispersion_BG: F64,
    batch_start_B1: Int,
    rows_CK: F64,
    start_C1: Int,
    null_K: F64,
    inverse_KC: F64,
    base_G: F64,
    gamma_BG: F64,
    beta_KG: F64,
    eta_CG: F64,
) -> None:
    """Fit each gene three times, as sva: for its base, with it for means, and for the batches.

    Bases and batches come from counts with a small prior count, so that no batch is infinitely
    far from another; means from counts as they are.

    Args:
        y_GS: counts, samples ordered by batch and cell.
        library_S: their libraries.
        dispersion_BG: of each batch.
        batch_start_B1: where a batch's samples start.
        rows_CK, start_C1, null_K: the layout; the first columns are the batches.
        inverse_KC: the inverse of a one-way layout's rows; empty for any other.
        base_G: mean of the batches' log means, by their sizes.
        gamma_BG: what each batch adds to it.
        beta_KG, eta_CG: coefficients and (one-way) log means of cells, beside the base.
    """
    n_batches, n_samples = len(dispersion_BG), len(library_S)
    beta, eta = np.empty(len(null_K)), np.empty(len(rows_CK))
    phi, work = np.empty(n_samples), np.empty((5, n_samples))
    y_more, scale, scale_more = np.empty(n_samples), np.empty(n_samples), np.empty(n_samples)
    prior = np.empty(n_samples)
    mean_library = total(library_S) / n_samples
    for j in range(n_samples):
        prior[j] = PRIOR_COUNT * library_S[j] / mean_library
    layout = rows_CK, start_C1, null_K, inverse_KC
    for g in range(len(y_GS)):
        y = y_GS[g]
        for b in range(n_batches):
            fill(phi[batch_start_B1[b] : batch_start_B1[b + 1]], dispersion_BG[b, g])
        for j in range(n_samples):
            y_more[j] = y[j] + prior[j]
            scale_more[j] = library_S[j] + 2.0 * prior[j]
        _fit(y_more, scale_more, phi, *layout, beta, eta, work)
        base = 0.0
        for b in range(n_batches):
            base += beta[b] * ((batch_start_B1[b + 1] - batch_start_B1[b]) / n_samples)
        level = math.exp(base)
        for j in range(n_samples):
            scale[j] = library_S[j] * level
            scale_more[j] = scale[j] + 2.0 * prior[j]
        base_G[g] = base
        _fit(y, scale, phi, *layout, beta, eta, work)
        for k in range(len(beta)):
            beta_KG[k, g] = beta[k]
        for c in range(len(eta_CG)):
            eta_CG[c, g] = eta[c]
        _fit(y_more, scale_more, phi, *layout, beta, eta, work)
        for b in range(n_batches):
            gamma_BG[b, g] = beta[b]
