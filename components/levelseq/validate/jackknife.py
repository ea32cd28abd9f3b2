"""Intervals that respect who belongs together: whole donors or runs are left out, never cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

__all__ = ["UNMEASURED", "Interval", "Measured", "jackknife", "left_out"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """A value and its 95 % interval over donors or runs; without one where they are too few."""

    value: float = float("nan")
    interval: Interval | None = None


UNMEASURED = Measured()

# More than these say little more of the spread, and each costs another fit.
_MOST_BLOCKS = 40


def left_out(group_N: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """What is kept (N,) when each group is left out in turn; many groups go in 40 blocks.

    Args:
        group_N: group of each row, codes from 0.
    """
    names = np.unique(group_N)
    blocks = min(len(names), _MOST_BLOCKS)
    if blocks < 2:
        return []
    block_N = np.searchsorted(names, group_N) % blocks
    return [block_N != block for block in range(blocks)]


def jackknife(value: float, without: Sequence[float]) -> Interval | None:
    """The 95 % interval of a statistic from its values with each group left out.

    Student's t on the jackknife's standard error (Tukey 1958), which is on average too large
    rather than too small (Efron & Stein 1981).

    Args:
        value: of all groups.
        without: with each left out in turn.

    Returns:
        None for fewer than two groups, or where leaving one out leaves nothing to compute.
    """
    values = np.asarray(without, dtype=np.float64)
    n = len(values)
    if n < 2 or not np.isfinite([value, *values]).all():
        return None
    error = float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum()))
    margin = float(student.ppf(0.975, n - 1)) * error
    return value - margin, value + margin
