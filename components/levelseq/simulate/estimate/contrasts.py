"""Differences between libraries that the same kinds of cells show, apart from their error."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.simulate.estimate.moments import moments

__all__ = ["Contrast", "Group", "contrast", "group"]

Floats = NDArray[np.float64]


class Group(NamedTuple):
    """Like cells of one library, per gene: counts in all, mean of scaled counts, its error."""

    counts_G: Floats
    mean_G: Floats
    error_G: Floats


class Contrast(NamedTuple):
    """Variances over genes of a log difference: in all kinds of cells alike, and in each alone.

    `shared_G` is the difference itself, mean over kinds; genes that are too scarce are NaN.
    """

    shared: float
    own: float
    shared_G: Floats


def group(x_SG: NDArray[Any]) -> Group:
    """The group of some cells' counts."""
    of = moments(x_SG)
    return Group(np.asarray(x_SG.sum(axis=0), dtype=np.float64), of.mean_G, of.error_G)


def contrast(pairs: list[tuple[Group, Group]], min_counts: int) -> Contrast:
    """The contrast of two libraries, from a pair of groups for each of two or more kinds of cells.

    Different kinds are different cells, so the covariance of their differences holds no sampling
    error: it is the variance of what is shared. Genes need `min_counts` in every group.
    """
    clear = np.min([g.counts_G for pair in pairs for g in pair], axis=0) >= min_counts
    logs_KG = np.array([np.log(a.mean_G[clear] / b.mean_G[clear]) for a, b in pairs])
    logs_KG -= np.median(logs_KG, axis=1, keepdims=True)
    covariance = np.cov(logs_KG)
    k = len(pairs)
    shared = (covariance.sum() - np.trace(covariance)) / (k * (k - 1))
    error = np.mean([a.error_G[clear].mean() + b.error_G[clear].mean() for a, b in pairs])
    shared_G = np.full(len(clear), np.nan)
    shared_G[clear] = logs_KG.mean(axis=0)
    return Contrast(float(shared), float(np.trace(covariance) / k - shared - error), shared_G)
