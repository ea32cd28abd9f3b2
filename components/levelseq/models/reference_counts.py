"""Counts as a reference batch would have shown them: integers with its means and its variance.

A count is a draw between two values of its negative binomial's distribution function; the count on
the reference batch is the quantile of one number drawn between the two. So what follows the one
distribution follows the other afterwards, zeros and ones included, where a count times a ratio
would keep the old noise. ComBat-seq (Zhang et al. 2020) maps quantiles too, but draws nothing and
leaves counts of 0 and 1 as they are, which are most counts of a cell. Drawn quantiles are those of
Dunn & Smyth (1996).

Shapes: B cells, G genes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nbinom

from levelseq.models.random_words import STEP, next_word, stream
from levelseq.normalize.compiled import kernel

__all__ = ["Distributions", "counts_on_reference"]

F64 = NDArray[np.float64]

_SUMMED = 64
"""Counts up to this are found by adding probabilities up."""
_NEAR_ONE, _LEAST, _LEAST_MEAN = 1e-9, 1e-280, 1e-9
_MOST_STEPS = 4096
_UNIT = 2.0**-53
_11 = np.uint64(11)


class Distributions(NamedTuple):
    """Negative binomial distributions of cells' counts.

    Attributes:
        mean_BG: means.
        theta_BG: inverse dispersions.
    """

    mean_BG: F64
    theta_BG: F64

    def of(self, chosen: Any) -> tuple[F64, F64]:
        """Means and inverse dispersions of some counts."""
        return self.mean_BG[chosen], self.theta_BG[chosen]


def counts_on_reference(
    counts_BG: F64, own: Distributions, reference: Distributions, rows_B: NDArray[np.int64]
) -> NDArray[np.int32]:
    """(B, G) counts on the reference batch; where the distributions are alike, as they were.

    Args:
        counts_BG: as they were seen.
        own, reference: of counts in the cell's own batch and in the reference batch.
        rows_B: numbers of the cells in their cohort, which decide what is drawn.
    """
    found_BG = np.empty(counts_BG.shape)
    _map(counts_BG, *own, *reference, rows_B, found_BG)
    rare = np.isnan(found_BG)
    if rare.any():
        cell, gene = np.nonzero(rare)
        drawn = _shares(rows_B[cell], gene)
        found_BG[rare] = _by_functions(counts_BG[rare], own.of(rare), reference.of(rare), drawn)
    return found_BG.clip(0, np.iinfo(np.int32).max).astype(np.int32)


def _by_functions(y: F64, own: tuple[F64, F64], reference: tuple[F64, F64], drawn: F64) -> F64:
    """The same of single counts, however large or unlikely; from the nearer tail.

    A count whose tail is smaller than any number is multiplied by the ratio of the means.
    """
    (mean, theta), (mean_new, theta_new) = own, reference
    mean, mean_new = np.maximum(mean, _LEAST_MEAN), np.maximum(mean_new, _LEAST_MEAN)
    distribution = nbinom(theta, theta / (theta + mean))
    target = nbinom(theta_new, theta_new / (theta_new + mean_new))
    point = distribution.pmf(y)
    below, above = distribution.cdf(y - 1) + drawn * point, distribution.sf(y) + (1 - drawn) * point
    tail = np.minimum(below, above)
    share = np.clip(tail, _LEAST, 0.5)
    found = np.where(above < below, target.isf(share), target.ppf(share))
    usual = (tail >= _LEAST) & np.isfinite(found)
    return np.where(usual, found, np.round(y * (mean_new / mean)))


@kernel
def _drawn(row: int, gene: int) -> float:
    word = next_word(stream(0, row, gene) + STEP)
    return (float(word >> _11) + 0.5) * _UNIT


@kernel
def _shares(row_N: Any, gene_N: Any) -> F64:
    share_N = np.empty(len(row_N))
    for i in range(len(row_N)):
        share_N[i] = _drawn(row_N[i], gene_N[i])
    return share_N


@kernel
def _map(
    counts_BG: F64,
    own_BG: F64,
    own_theta_BG: F64,
    reference_BG: F64,
    reference_theta_BG: F64,
    rows_B: Any,
    found_BG: F64,
) -> None:
    """Fill in what adding up probabilities finds; the rest is not a number."""
    n_cells, n_genes = counts_BG.shape
    for b in range(n_cells):
        for g in range(n_genes):
            y, own, new = counts_BG[b, g], own_BG[b, g], reference_BG[b, g]
            theta, theta_new = own_theta_BG[b, g], reference_theta_BG[b, g]
            found_BG[b, g] = y
            if own == new and theta == theta_new:
                continue
            found_BG[b, g] = np.nan
            # Probabilities of none; means of nothing give zeros.
            log_none = -theta * math.log1p(own / theta)
            none_new = math.exp(-theta_new * math.log1p(new / theta_new))
            if y == 0.0 and log_none <= math.log(none_new):
                found_BG[b, g] = 0.0
                continue
            point = math.exp(log_none)
            if y > _SUMMED or point < _LEAST or none_new < _LEAST:
                continue
            below, odds = 0.0, own / (own + theta)
            for k in range(int(y)):
                below += point
                point *= (k + theta) / (k + 1.0) * odds
            share = below + _drawn(rows_B[b], g) * point
            if share < 1.0 - _NEAR_ONE:
                found_BG[b, g] = _quantile(share, none_new, new / (new + theta_new), theta_new)


@kernel
def _quantile(share: float, none: float, odds: float, theta: float) -> float:
    """The least count whose distribution function reaches a share; NaN where it lies far."""
    point, upto = none, none
    for k in range(_MOST_STEPS):
        if upto >= share:
            return float(k)
        point *= (k + theta) / (k + 1.0) * odds
        upto += point
    return np.nan
