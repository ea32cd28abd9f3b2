"""Kolmogorov-Smirnov distance of one measure between a batch and cells of the same kinds.

Shapes: N cells of one batch, each by its rank among reference cells of its kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

__all__ = ["ks_shift", "signed_ks"]


def signed_ks(rank_N: Any) -> float:
    """The distance of the ranks' distribution from the uniform one.

    Args:
        rank_N: as `kind_ranks` gives them.

    Returns:
        Positive where the batch's values are the larger ones, negative where they are smaller.
    """
    rank, n = np.sort(rank_N), len(rank_N)
    larger = float((rank - np.arange(n) / n).max())
    smaller = float((np.arange(1, n + 1) / n - rank).max())
    return larger if larger >= smaller else -smaller


def ks_shift(distance: float, n: int) -> float:
    """The shift between two normal distributions, in their sd, that have this distance.

    A distance ends at 1, however far apart two runs are; the shift does not, and is about normal
    over runs, so that runs of the history can say what is large.

    Args:
        distance: signed.
        n: values of the batch; they bound what a distance of 1 can tell.
    """
    size = min(abs(distance), 1 - 0.5 / n)
    return float(np.sign(distance) * 2 * norm.ppf((1 + size) / 2))
