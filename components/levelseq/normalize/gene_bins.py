"""Bins of genes along a feature, and counts brought to the same level in all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.compiled import kernel
from levelseq.normalize.quantile_kernels import level_bins
from levelseq.normalize.r_quantile import MEDIAN, UPPER, middle, row_quantiles

__all__ = ["FullQuantile", "bins_of", "scaled_bins"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def bins_of(feature_G: F64, n_bins: int, *, at_least: int) -> I64:
    """The bin of each gene, from 0, cut at quantiles of the feature (G,).

    A gene on a cut belongs to the bin below it.

    Args:
        feature_G: finite numbers.
        n_bins: two or more.
        at_least: genes that a bin needs.

    Raises:
        BadInput: cuts that coincide, or a bin with too few genes.
        BadOption: fewer than two bins.
    """
    if n_bins < 2:
        raise BadOption(f"{n_bins} bins tell nothing apart", where="--bins", do="use two or more")
    step = 1 / n_bins
    probabilities = [k * step for k in range(n_bins)] + [1.0]
    row = feature_G[None]
    cuts = np.array([row_quantiles(row, min(p, 1.0))[0] for p in probabilities])
    if (np.diff(cuts) <= 0).any():
        raise BadInput(
            f"so many genes have the same value that {n_bins} bins cannot be cut",
            where="the genes' feature",
            do="use fewer bins, or loess",
        )
    bin_G = np.maximum(np.searchsorted(cuts, feature_G, side="left") - 1, 0)
    fewest = int(np.bincount(bin_G, minlength=n_bins).min())
    if fewest < at_least:
        raise BadInput(
            f"of {len(feature_G)} genes a bin has {fewest}, and {at_least} are needed",
            where="the genes' feature",
            do="use fewer bins, or loess",
        )
    return bin_G


class FullQuantile:
    """The same distribution of counts in all bins: the mean of the bins' quantiles.

    Bins of different size are compared at as many even places as the largest bin has genes.
    """

    def __init__(self, bin_G: I64) -> None:
        self._gene = np.argsort(bin_G, kind="stable")
        size_B = np.bincount(bin_G)
        largest = int(size_B.max())
        self._start_B = np.concatenate([[0], np.cumsum(size_B)])
        up = [_places(int(n), largest) for n in size_B]
        down = [_places(largest, int(n)) for n in size_B]
        self._up_low, self._up_part = (np.concatenate(part) for part in zip(*up))
        self._down_low, self._down_part = (np.concatenate(part) for part in zip(*down))

    def apply(self, x_SG: F64) -> F64:
        """(S, G): each row levelled by itself; equal counts take quantiles in the genes' order."""
        out_SG = np.empty(x_SG.shape)
        level_bins(
            x_SG,
            self._gene,
            self._start_B,
            self._up_low,
            self._up_part,
            self._down_low,
            self._down_part,
            out_SG,
        )
        return out_SG


def _places(n: int, m: int) -> tuple[I64, F64]:
    """Where `m` even places lie among `n` even ones: the one before, and the part to the next.

    In the order of operations of R's `approx`, since the result is rounded to whole counts.
    """
    given, wanted = np.arange(n) / (n - 1), np.arange(m) / (m - 1)
    low = np.searchsorted(given, wanted, side="right") - 1
    high = np.minimum(low + 1, n - 1)
    width = np.where(high > low, given[high] - given[low], 1.0)
    return low, (wanted - given[low]) / width


def scaled_bins(x_SG: F64, bin_G: I64, which: str, samples: Sequence[str]) -> F64:
    """(S, G): each bin scaled so that its median or upper quartile is the whole sample's.

    Levels are those of logs. A bin whose own level is zero is left as it is.

    Raises:
        BadInput: the level of a whole sample is zero; names the sample.
    """
    prob = MEDIAN if which == "median" else UPPER
    low_S, high_S, part = middle(x_SG, prob)
    if not low_S.all():
        raise BadInput(
            f"its {'median' if which == 'median' else 'upper quartile'} is zero",
            where=f"sample {samples[int(np.argmin(low_S))]}",
            do="leave out genes with few counts, or use loess",
        )
    n_bins = int(bin_G.max()) + 1
    low_SB, high_SB = np.zeros((len(x_SG), n_bins)), np.zeros((len(x_SG), n_bins))
    part_B = np.zeros(n_bins)
    for b in np.unique(bin_G):
        low_SB[:, b], high_SB[:, b], part_B[b] = middle(x_SG[:, bin_G == b], prob)
    out_SG = np.empty(x_SG.shape)
    _scale(x_SG, bin_G, low_S, high_S, part, low_SB, high_SB, part_B, out_SG)
    return out_SG


@kernel
def _log_level(low: float, high: float, part: float) -> float:
    """The quantile of logs between two values; minus infinity where the lower one is zero."""
    if low == 0.0:
        return -math.inf
    if part == 0.0 or low == high:
        return math.log(low)
    return (1.0 - part) * math.log(low) + part * math.log(high)


@kernel
def _scale(
    x_SG: F64,
    bin_G: I64,
    low_S: F64,
    high_S: F64,
    part: float,
    low_SB: F64,
    high_SB: F64,
    part_B: F64,
    out_SG: F64,
) -> None:
    # By logs and back as R does, and by the same library's log: a half is rounded by its last bit.
    for s in range(x_SG.shape[0]):
        level = _log_level(low_S[s], high_S[s], part)
        level_B = np.empty(len(part_B))
        for b in range(len(part_B)):
            level_B[b] = _log_level(low_SB[s, b], high_SB[s, b], part_B[b])
        for g in range(x_SG.shape[1]):
            x = x_SG[s, g]
            own = level_B[bin_G[g]]
            if x > 0.0 and own > -math.inf:
                x = math.exp(math.log(x) - own + level)
            out_SG[s, g] = x
