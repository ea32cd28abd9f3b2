"""Gene-wise means of a batch beside what is expected of cells of the same kinds.

Shapes: B batches, G genes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import chi2

__all__ = ["gene_scale", "relative_ratios", "spread", "standout", "unseen_standouts"]

FEWEST_COUNTS = 50
# How many batches the genes' common scale is worth when a gene's own is estimated.
PRIOR_BATCHES = 4.0
FEWEST_GENES = 20
LEAST_SD = 0.1
MEDIAN_OF_SQUARES = float(chi2.median(1))
TOP_SHARE, FEWEST_TOP = 0.02, 3


def spread(observed_G: Any, expected_G: Any) -> float:
    """Root mean square over genes of log observed over expected counts, less Poisson sampling.

    Over genes with 50 expected counts or more; natural log; NaN for fewer than two of them.
    """
    counted = expected_G >= FEWEST_COUNTS
    if counted.sum() < 2:
        return float("nan")
    ratio = _log_ratio(observed_G, expected_G)[counted]
    return float(np.sqrt(max((ratio**2).mean() - (1 / expected_G[counted]).mean(), 0.0)))


def relative_ratios(observed_G: Any, expected_G: Any) -> Any:
    """(G,): log ratios in units of what the batch's genes do as a rule, with Poisson sampling.

    How far the batch as a whole lies off is `spread`; this says which genes lie off more than the
    others. The unit comes from the median gene, so that a few that do cannot hide behind it, and
    is a tenth of a log at least: less moves no conclusion. NaN for genes below 50 expected counts.
    """
    counted_G = expected_G >= FEWEST_COUNTS
    if not counted_G.any():
        return np.full(len(expected_G), np.nan)
    ratio_G = _log_ratio(observed_G, expected_G)
    median = np.median(ratio_G[counted_G] ** 2) / MEDIAN_OF_SQUARES
    overall = max(median - np.median(1 / expected_G[counted_G]), LEAST_SD**2)
    sd_G = np.sqrt(overall + 1 / np.maximum(expected_G, FEWEST_COUNTS))
    return np.where(counted_G, ratio_G / sd_G, np.nan)


def gene_scale(relative_BG: Any) -> Any:
    """(G,): each gene's own scale over batches, shrunk to 1 as by four more batches.

    Some genes (mitochondrial, ribosomal, of stress) differ between runs more than others do.
    """
    known_G = np.isfinite(relative_BG).sum(axis=0)
    squares_G = np.nansum(relative_BG**2, axis=0)
    return np.sqrt((PRIOR_BATCHES + squares_G) / (PRIOR_BATCHES + known_G))


def standout(relative_G: Any, scale_G: Any) -> float:
    """Root mean square of the 2 % of genes (3 or more) that lie off most, in their own scale.

    NaN for fewer than 20 counted genes.
    """
    size_G = np.abs(relative_G / scale_G)
    size_G = size_G[np.isfinite(size_G)]
    if len(size_G) < FEWEST_GENES:
        return float("nan")
    top = np.sort(size_G)[-max(FEWEST_TOP, round(TOP_SHARE * len(size_G))) :]
    return float(np.sqrt((top**2).mean()))


def unseen_standouts(relative_BG: Any) -> Any:
    """(B,): each batch's standout with the scale of the other batches' genes."""
    others = [np.delete(relative_BG, b, axis=0) for b in range(len(relative_BG))]
    return np.array([standout(own, gene_scale(rest)) for own, rest in zip(relative_BG, others)])


def _log_ratio(observed_G: Any, expected_G: Any) -> Any:
    return np.log((observed_G + 0.5) / (expected_G + 0.5))
