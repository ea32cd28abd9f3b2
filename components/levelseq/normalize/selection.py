"""The k-th smallest of some values in time that grows with their number, without sorting them.

Floyd & Rivest (1975): two values of a sample bracket the answer, one pass without branches
gathers what lies between, and the few that are left are partitioned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel

__all__ = ["pair_at", "pairs_of_rows"]

F64 = NDArray[np.float64]

_FEW = 600
# Half the bracket's width, in standard deviations of the sample's ranks. A bracket that misses
# costs a second pass, never a wrong answer.
_DEVIATIONS = 3.0


@kernel
def pair_at(values: F64, n: int, k: int, work: F64) -> tuple[float, float]:
    """The k-th smallest (from 0) of the first n values and the one after it.

    Args:
        values: at least n, without NaN; they stay as they are.
        n: how many to look at.
        k: 0 <= k < n; the last has no successor and is given twice.
        work: n values that are overwritten.
    """
    below, found = 0, n
    if n <= _FEW:
        for i in range(n):
            work[i] = values[i]
    else:
        low, high = _bracket(values, n, k, work)
        below, found = 0, 0
        for i in range(n):
            value = values[i]
            work[found] = value
            below += value < low
            found += (value >= low) & (value <= high)
        if k < below or (k + 1 >= below + found and k + 1 < n):
            below, found = 0, n
            for i in range(n):
                work[i] = values[i]
        elif low == high:
            return low, low
    place = k - below
    _partition(work, found, place)
    if k + 1 >= n:
        return work[place], work[place]
    after = work[place + 1]
    for i in range(place + 2, found):
        after = min(after, work[i])
    return work[place], after


@kernel
def _bracket(values: F64, n: int, k: int, work: F64) -> tuple[float, float]:
    """Two values that very likely have the k-th and the one after it between them."""
    size = min(n, max(200, int(n ** (2.0 / 3.0))))
    step = n / size
    for i in range(size):
        work[i] = values[int(i * step)]
    share = (k + 0.5) / n
    slack = _DEVIATIONS * np.sqrt(size * share * (1.0 - share)) + 2.0
    low, high = -np.inf, np.inf
    first, last = int(size * share - slack), int(size * share + slack) + 1
    if first >= 0:
        _partition(work, size, first)
        low = work[first]
    if last < size:
        _partition(work, size, last)
        high = work[last]
    return low, high


@kernel
def _partition(values: F64, n: int, k: int) -> None:
    """Put the k-th smallest of n at its place: none before it is larger, none after it smaller."""
    left, right = 0, n - 1
    while left < right:
        a, b, c = values[left], values[k], values[right]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < k:
            left = i
        if k < i:
            right = j


@kernel
def pairs_of_rows(x_RG: F64, k: int, low_R: F64, high_R: F64) -> None:
    """Each row's k-th smallest value and the one after it, into `low_R` and `high_R`."""
    work = np.empty(x_RG.shape[1])
    for r in range(x_RG.shape[0]):
        low_R[r], high_R[r] = pair_at(x_RG[r], x_RG.shape[1], k, work)
