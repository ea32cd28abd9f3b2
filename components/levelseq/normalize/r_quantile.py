"""A quantile of each sample, with R's arithmetic.

The last bit counts: it decides on which side of a cut a value lies, and what a half is rounded to.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["MEDIAN", "UPPER", "middle", "place", "row_quantiles"]

F64 = NDArray[np.float64]

MEDIAN, UPPER = 0.5, 0.75


def place(n: int, prob: float) -> tuple[int, int, float]:
    """Where a quantile lies among `n` sorted values: before, after, and the part between.

    Follows R's `quantile(type=7)` (Hyndman & Fan 1996).
    """
    index = 1 + (n - 1) * prob
    return math.floor(index) - 1, math.ceil(index) - 1, index - math.floor(index)


def middle(x_SG: F64, prob: float) -> tuple[F64, F64, float]:
    """(S,) and (S,): the sorted values around each row's quantile, and the part between."""
    low, high, part = place(x_SG.shape[1], prob)
    sorted_SG = np.partition(x_SG, (low, high), axis=1)
    return sorted_SG[:, low], sorted_SG[:, high], part


def row_quantiles(x_SG: F64, prob: float) -> F64:
    """(S,): each row's quantile."""
    low_S, high_S, part = middle(x_SG, prob)
    between_S = (1 - part) * low_S + part * high_S
    return np.where(low_S == high_S, low_S, between_S) if part else low_S
