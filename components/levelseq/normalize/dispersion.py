"""Gene-wise dispersions of counts: DESeq2's `estimateDispersionsGeneEst`.

Works on blocks of genes with all their samples (G, S), so that a caller can feed them from a
gene-major copy. Memory: a few arrays of a block of counts for each thread, small enough to stay
near the processor.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from levelseq.errors import BadInput
from levelseq.normalize.c_library import exp, log
from levelseq.normalize.compiled import blocks, in_threads
from levelseq.normalize.dispersion_kernels import grid_search, line_search, rough_dispersions
from levelseq.normalize.dispersion_means import (
    LEAST_EXPECTED,
    Model,
    expectations,
    means_and_variances,
)

__all__ = [
    "HIGHEST_SAMPLES",
    "LOWEST",
    "GeneWise",
    "final_dispersions",
    "gene_wise_dispersions",
    "highest",
]

F64 = NDArray[np.float64]

LOWEST = 1e-8
"""Least dispersion."""
HIGHEST_SAMPLES = 10
"""The highest dispersion is the number of samples, and this if there are fewer."""

_TOLERANCE = 1e-6
_MOST_STEPS = 100
_GRID = 20
_LEAST_PRIOR = 0.25
_BLOCK_ELEMENTS = 1 << 17


class GeneWise(NamedTuple):
    """Of each gene (G,): mean and variance of normalized counts, dispersion, steps of its search.

    A gene without counts has dispersion NaN; 0 steps are of one where a search could gain nothing.
    """

    base_mean_G: F64
    base_variance_G: F64
    dispersion_G: F64
    steps_G: F64


def highest(n_samples: int) -> float:
    """The greatest dispersion that DESeq2 allows."""
    return float(max(HIGHEST_SAMPLES, n_samples))


def gene_wise_dispersions(
    x_GS: NDArray[Any], size_factor_S: F64, design_SK: F64 | None = None
) -> GeneWise:
    """Dispersion of each gene by itself.

    Args:
        x_GS: counts of genes in all samples.
        size_factor_S: DESeq2's size factors.
        design_SK: design matrix with its intercept; none: the intercept alone.

    Raises:
        BadInput: size factors that are not positive, a design without full rank, or no
            replicates (as many columns as samples).

    Follows `DESeq2::estimateDispersionsGeneEst` (Love, Huber & Anders 2014): same start values,
    search and stopping rules.
    """
    model = Model.of(size_factor_S, design_SK)
    if x_GS.shape[1] != len(model.size_factor_S):
        raise BadInput(
            f"{len(model.size_factor_S)} size factors for {x_GS.shape[1]} samples",
            where="size factors",
        )
    step = max(1, _BLOCK_ELEMENTS // max(1, x_GS.shape[1]))
    parts = in_threads(
        lambda genes: _block(np.asarray(x_GS[genes], dtype=np.float64), model),
        blocks(len(x_GS), step),
    )
    if not parts:
        return GeneWise(*(np.empty(0) for _ in GeneWise._fields))
    return GeneWise(*(np.concatenate(values) for values in zip(*parts)))


def _block(x_GS: F64, model: Model) -> GeneWise:
    mean_G, variance_G = means_and_variances(x_GS, model.size_factor_S)
    dispersion_G, steps_G = np.full(len(x_GS), np.nan), np.zeros(len(x_GS))
    used = x_GS.any(axis=1)
    if used.any():
        y_GS = np.ascontiguousarray(x_GS[used]) if not used.all() else x_GS
        start_G = _start(y_GS, mean_G[used], variance_G[used], model)
        mu_GS = np.maximum(expectations(y_GS, start_G, model), LEAST_EXPECTED)
        dispersion_G[used], steps_G[used] = _search(y_GS, mu_GS, start_G, model)
    return GeneWise(mean_G, variance_G, dispersion_G, steps_G)


def _start(y_GS: F64, mean_G: F64, variance_G: F64, model: Model) -> F64:
    """The lesser of two rough estimates: by residuals of a linear model, and by moments."""
    normalized_GS = y_GS / model.size_factor_S
    mu_GS = np.maximum(model.linear(normalized_GS), 1.0)
    n, k = model.design_SK.shape
    rough_G = np.empty(len(y_GS))
    rough_dispersions(normalized_GS, mu_GS, rough_G)
    rough_G = np.maximum(rough_G / (n - k), 0.0)
    moments_G = (variance_G - model.mean_inverse_size * mean_G) / (mean_G * mean_G)
    return np.asarray(np.clip(np.minimum(rough_G, moments_G), LOWEST, highest(n)))


def _search(y_GS: F64, mu_GS: F64, start_G: F64, model: Model) -> tuple[F64, F64]:
    """Line search; the start where that gained nothing; a grid where it did not settle."""
    top = highest(y_GS.shape[1])
    found_4G = np.empty((4, len(y_GS)))
    log_start_G = log(start_G)
    settings = (0.0, math.log(LOWEST / 10), _TOLERANCE, _MOST_STEPS)
    line_search(y_GS, mu_GS, model.rows, log_start_G, log_start_G, settings, found_4G)
    log_alpha_G, steps_G, first_G, last_G = found_4G
    dispersion_G = np.minimum(exp(log_alpha_G), top)
    gained_nothing = last_G < first_G + np.abs(first_G) / 1e6
    dispersion_G[gained_nothing] = start_G[gained_nothing]
    settled = (steps_G < _MOST_STEPS) & (steps_G != 1)
    again = ~settled & (dispersion_G > LOWEST * 10)
    if again.any():
        prior = (np.zeros(int(again.sum())), 0.0)
        dispersion_G[again] = _on_grid(y_GS[again], mu_GS[again], prior, model)
    return np.clip(dispersion_G, LOWEST, top), steps_G


def _on_grid(y_GS: F64, mu_GS: F64, prior: tuple[F64, float], model: Model) -> F64:
    grid_T = np.linspace(math.log(LOWEST), math.log(highest(y_GS.shape[1])), _GRID)
    best_G = np.empty(len(y_GS))
    grid_search(y_GS, mu_GS, model.rows, prior, grid_T, best_G)
    return exp(best_G)


def final_dispersions(y_GS: F64, mu_GS: F64, gene_wise_G: F64, trend_G: F64, model: Model) -> F64:
    """Dispersions shrunk to their trend (G,), all genes with counts; outliers above stay.

    Args:
        y_GS: counts; mu_GS: their expectations.
        gene_wise_G: dispersion of each gene by itself; trend_G: the trend at its mean.
        model: size factors and design.

    Follows `DESeq2::estimateDispersionsMAP`; the variance of the prior is always the variance of
    the residuals less that of their estimates, which DESeq2 replaces by a simulation where there
    are three samples more than coefficients, or fewer.
    """
    residual_G = (log(gene_wise_G) - log(trend_G))[gene_wise_G >= 100 * LOWEST]
    deviation = np.median(np.abs(residual_G - np.median(residual_G))) * 1.4826
    n, k = model.design_SK.shape
    prior_variance = max(deviation**2 - float(polygamma(1, (n - k) / 2)), _LEAST_PRIOR)
    start_G = np.where(gene_wise_G > 0.1 * trend_G, gene_wise_G, trend_G)
    log_start_G, log_trend_G = log(start_G), log(trend_G)
    settings = (prior_variance, math.log(LOWEST / 10), _TOLERANCE, _MOST_STEPS)

    def search(genes: slice) -> F64:
        block, found_4G = (y_GS[genes], mu_GS[genes]), np.empty((4, len(y_GS[genes])))
        line_search(*block, model.rows, log_start_G[genes], log_trend_G[genes], settings, found_4G)
        dispersion_G = exp(found_4G[0])
        again = found_4G[1] >= _MOST_STEPS
        if again.any():
            prior = (log_trend_G[genes][again], prior_variance)
            dispersion_G[again] = _on_grid(block[0][again], block[1][again], prior, model)
        return np.asarray(dispersion_G)

    step = max(1, _BLOCK_ELEMENTS // max(1, y_GS.shape[1]))
    shrunk_G = np.concatenate(in_threads(search, blocks(len(y_GS), step)))
    outlier_G = log(gene_wise_G) > log_trend_G + 2 * deviation
    return np.where(outlier_G, gene_wise_G, np.clip(shrunk_G, LOWEST, highest(n)))
