"""The search for the maximum of a gene's log posterior of its dispersion, compiled.

DESeq2's line search, with its start, steps and stopping rule, so that it ends where DESeq2's ends
(Love, Huber & Anders 2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.dispersion_likelihood import ROWS
from levelseq.normalize.dispersion_posterior import Design, distinct, inverses, slope, value
from levelseq.normalize.dispersion_quick import ARMIJO, FIRST_STEP, HIGHEST, LOWEST, quick_search

__all__ = ["grid_search", "line_search", "literal_search", "rough_dispersions"]

F64 = NDArray[np.float64]


@kernel
def line_search(
    y_GS: F64,
    mu_GS: F64,
    design: Design,
    start_G: F64,
    prior_mean_G: F64,
    settings: tuple[float, float, float, int],
    out_4G: F64,
) -> None:
    """DESeq2's `fitDisp`: climb from each gene's start by steps that Armijo's rule accepts.

    Args:
        y_GS: counts; mu_GS: their expectations.
        design: of the samples.
        start_G: log dispersions to start from; prior_mean_G: the prior's.
        settings: variance of the prior (0: none), lowest log dispersion that is followed,
            tolerance, most steps.
        out_4G: log dispersion, steps tried, log posterior at the start, and at the end.
    """
    prior_variance, lowest, tolerance, most = settings
    n_genes, n = y_GS.shape
    work, out_4 = np.empty((ROWS, n)), np.empty(4)
    for g in range(n_genes):
        gene = (y_GS[g], mu_GS[g])
        prior = (prior_mean_G[g], prior_variance)
        if not quick_search(*gene, design, start_G[g], prior, (tolerance, most), work, out_4):
            literal_search(*gene, design, start_G[g], prior, (lowest, tolerance, most), out_4)
        for i in range(4):
            out_4G[i, g] = out_4[i]


@kernel
def literal_search(
    y_S: F64,
    mu_S: F64,
    design: Design,
    start: float,
    prior: tuple[float, float],
    settings: tuple[float, float, int],
    out_4: F64,
) -> None:
    """`line_search` for one gene, rounded as R rounds; settings are the last three of it."""
    lowest, tolerance, most = settings
    n = len(y_S)
    count_U, place_S, work_2S = np.empty(n), np.empty(n, dtype=np.int64), np.empty((2, n))
    inverse_S = np.empty(n)
    found = distinct(y_S, count_U, place_S)
    inverses(mu_S, inverse_S)
    counts = (y_S, mu_S, inverse_S, count_U[:found], place_S)
    a = start
    here = value(a, counts, design, prior, work_2S)
    along = slope(a, counts, design, prior, work_2S)
    out_4[2] = here
    step, accepted, tried = FIRST_STEP, 0, 0
    while tried < most:
        tried += 1
        proposed = a + step * along
        if proposed < LOWEST:
            step = (LOWEST - a) / along
        if proposed > HIGHEST:
            step = (HIGHEST - a) / along
        new = a + step * along
        there = value(new, counts, design, prior, work_2S)
        if not -there <= -here - step * ARMIJO * (along * along):
            step /= 2.0
            continue
        accepted += 1
        a = new
        if there - here < tolerance:
            here = there
            break
        if a < lowest:
            break
        here = there
        along = slope(a, counts, design, prior, work_2S)
        step = min(step * 1.1, FIRST_STEP)
        if accepted % 5 == 0:
            step /= 2.0
    out_4[0], out_4[1], out_4[3] = a, tried, here


@kernel
def grid_search(
    y_GS: F64,
    mu_GS: F64,
    design: Design,
    prior: tuple[F64, float],
    grid_T: F64,
    out_G: F64,
) -> None:
    """DESeq2's `fitDispGrid`: the best log dispersion of a grid, then of a finer one about it."""
    n_genes, n = y_GS.shape
    count_U, place_S, work_2S = np.empty(n), np.empty(n, dtype=np.int64), np.empty((2, n))
    inverse_S = np.empty(n)
    width = grid_T[1] - grid_T[0]
    for g in range(n_genes):
        found = distinct(y_GS[g], count_U, place_S)
        inverses(mu_GS[g], inverse_S)
        counts = (y_GS[g], mu_GS[g], inverse_S, count_U[:found], place_S)
        points = grid_T
        best = 0.0
        for _ in range(2):
            highest = -np.inf
            for a in points:
                there = value(a, counts, design, (prior[0][g], prior[1]), work_2S)
                if there > highest:
                    highest, best = there, a
            points = np.linspace(best - width, best + width, len(grid_T))
        out_G[g] = best


@kernel
def rough_dispersions(normalized_GS: F64, mu_GS: F64, out_G: F64) -> None:
    """Sums of ((y - mu)^2 - mu) / mu^2 over samples, with what rounding loses of them."""
    n_genes, n = normalized_GS.shape
    for g in range(n_genes):
        total, lost = 0.0, 0.0
        for s in range(n):
            mu = mu_GS[g, s]
            away = normalized_GS[g, s] - mu
            term = (away * away - mu) / (mu * mu)
            grown = total + term
            part = grown - total
            lost += (total - (grown - part)) + (term - part)
            total = grown
        out_G[g] = total + lost
