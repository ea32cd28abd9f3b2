"""Counts of genes from their batch's distribution to the one without batches."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.kernel_loops import copy
from levelseq.normalize.negative_binomial_tail import SMALL, size_terms
from levelseq.normalize.quantile_map import map_quantiles

__all__ = ["map_genes"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]


@kernel
def map_genes(
    y_GS: F64,
    library_S: F64,
    rows_CK: F64,
    start_C1: Int,
    known_C: Int,
    batch_C: Int,
    adjusted_G: NDArray[np.bool_],
    log_mean_CG: F64,
    coefficient_KG: F64,
    base_G: F64,
    gamma_BG: F64,
    dispersion_BG: F64,
    dispersion_G: F64,
) -> None:
    """Replace counts of adjusted genes by the mapped ones.

    Args:
        y_GS: counts, samples ordered by cell.
        library_S: their libraries.
        rows_CK, start_C1: rows of the design, and where each one's samples start.
        known_C: which row of the fit's one-way design each is, -1 for none.
        batch_C: the batch of each.
        adjusted_G: which genes to map.
        log_mean_CG, coefficient_KG, base_G, gamma_BG, dispersion_BG, dispersion_G: as in State.
    """
    n_samples = len(library_S)
    old, new, out = np.empty(n_samples), np.empty(n_samples), np.empty(n_samples)
    terms_old, terms_new = np.empty(SMALL + 1), np.empty(SMALL + 1)
    for g in range(len(y_GS)):
        if not adjusted_G[g]:
            continue
        size_new = 1.0 / dispersion_G[g]
        size_terms(size_new, terms_new)
        for c in range(len(rows_CK)):
            a, b = start_C1[c], start_C1[c + 1]
            eta = base_G[g]
            if known_C[c] >= 0:
                eta += log_mean_CG[known_C[c], g]
            else:
                for k in range(rows_CK.shape[1]):
                    eta += rows_CK[c, k] * coefficient_KG[k, g]
            level, shift = math.exp(eta), math.exp(-gamma_BG[batch_C[c], g])
            for j in range(a, b):
                old[j] = library_S[j] * level
                new[j] = old[j] * shift
            size_old = 1.0 / dispersion_BG[batch_C[c], g]
            if c == 0 or batch_C[c] != batch_C[c - 1]:
                size_terms(size_old, terms_old)
            means, sizes = (old[a:b], new[a:b]), (size_old, size_new)
            map_quantiles(y_GS[g, a:b], *means, *sizes, terms_old, terms_new, out[a:b])
        copy(out, y_GS[g])
