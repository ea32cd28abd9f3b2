"""The median over samples of the least value of each, of the second least, and so on.

Passes over the data: one as long as the sorted samples take less than 512 MB. Else the medians
are found between bounds: the first pass gives each rank's least and greatest value, and every
further pass counts the values between a rank's bounds in 256 steps and narrows the bounds to the
step with the median, until they are one value. Counts need two or three such passes, other
values three or four. The medians are exact. Memory: 256 counts and bounds for each rank.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.chunks import Chunks, dense_rows
from levelseq.normalize.compiled import blocks, in_threads, kernel

__all__ = ["rank_medians"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_KEPT_ELEMENTS = 1 << 26
_BLOCK_ELEMENTS = 1 << 18
_STEPS = 256


def rank_medians(chunks: Chunks) -> F64:
    """(G,): for each rank, the median over samples of the value that has it, ascending.

    Empty where there are no samples.
    """
    kept: list[F64] = []
    low_G, high_G = np.empty(0), np.empty(0)
    n = 0
    for x_SG in _sorted(chunks):
        if n == 0:
            low_G, high_G = x_SG[0].copy(), x_SG[0].copy()
        n += len(x_SG)
        if n * x_SG.shape[1] <= _KEPT_ELEMENTS:
            kept.append(x_SG)
        else:
            kept.clear()
        np.minimum(low_G, x_SG.min(axis=0), out=low_G)
        np.maximum(high_G, x_SG.max(axis=0), out=high_G)
    if n == 0 or kept:
        return _medians_of(kept, len(low_G), n)
    return _medians_between(chunks, low_G, high_G, n)


def _sorted(chunks: Chunks) -> Iterator[F64]:
    """Blocks of rows, each row sorted."""
    for chunk in chunks():
        for _, x_SG in dense_rows(chunk.x_SG):
            rows_of = blocks(len(x_SG), max(1, _BLOCK_ELEMENTS // x_SG.shape[1]))
            out_SG = np.empty(x_SG.shape)

            def fill(rows: slice, x_SG: F64 = x_SG, out_SG: F64 = out_SG) -> None:
                out_SG[rows] = np.sort(x_SG[rows], axis=1)

            in_threads(fill, rows_of)
            yield out_SG


def _medians_of(kept: list[F64], n_ranks: int, n: int) -> F64:
    low, high = (n - 1) // 2, n // 2

    def work(ranks: slice) -> F64:
        x_GS = np.concatenate([np.ascontiguousarray(x_SG[:, ranks].T) for x_SG in kept], axis=1)
        x_GS.partition((low, high), axis=1)
        return np.asarray((x_GS[:, low] + x_GS[:, high]) / 2)

    parts = in_threads(work, blocks(n_ranks, max(1, _BLOCK_ELEMENTS // max(n, 1))))
    return np.concatenate([np.empty(0), *parts])


def _medians_between(chunks: Chunks, low_G: F64, high_G: F64, n: int) -> F64:
    median_G = np.where(low_G == high_G, low_G, np.nan)
    below_G = np.zeros(len(low_G), np.int64)
    while np.isnan(median_G).any():
        steps = _counted(chunks, low_G, high_G, median_G)
        _narrow(n, *steps, low_G, high_G, below_G, median_G)
    return median_G


def _counted(chunks: Chunks, low_G: F64, high_G: F64, median_G: F64) -> tuple[I64, F64, F64]:
    """Of each rank's steps: how many values, the least and the greatest of them; in one pass."""
    shape = (len(low_G), _STEPS)
    count, least, greatest = (
        np.zeros(shape, np.int64),
        np.full(shape, np.inf),
        np.full(shape, -np.inf),
    )
    ranks_of = blocks(len(low_G), max(1, len(low_G) // 16))
    for x_SG in _sorted(chunks):

        def add(ranks: slice, x_SG: F64 = x_SG) -> None:
            bounds = (low_G[ranks], high_G[ranks], median_G[ranks])
            found = (count[ranks], least[ranks], greatest[ranks])
            _count(x_SG, ranks.start, *bounds, *found)

        in_threads(add, ranks_of)
    return count, least, greatest


@kernel
def _count(
    x_SG: F64,
    first: int,
    low: F64,
    high: F64,
    median: F64,
    count: I64,
    least: F64,
    greatest: F64,
) -> None:
    """Count the values of each rank between its bounds, in steps, with each step's own bounds."""
    steps = count.shape[1]
    for s in range(x_SG.shape[0]):
        for g in range(len(low)):
            value = x_SG[s, first + g]
            if median[g] == median[g] or value < low[g] or value > high[g]:
                continue
            at = min(int((value - low[g]) / (high[g] - low[g]) * steps), steps - 1)
            count[g, at] += 1
            least[g, at] = min(least[g, at], value)
            greatest[g, at] = max(greatest[g, at], value)


@kernel
def _narrow(
    n: int, count: I64, least: F64, greatest: F64, low: F64, high: F64, below: I64, median: F64
) -> None:
    """Bounds become those of the step that has the median; it is found when they are equal."""
    first, second = (n - 1) // 2, n // 2
    for g in range(len(median)):
        if median[g] == median[g]:
            continue
        at = 0
        while below[g] + count[g, at] <= first:
            below[g] += count[g, at]
            at += 1
        if below[g] + count[g, at] <= second:
            # The two middle values lie in different steps.
            after = at + 1
            while count[g, after] == 0:
                after += 1
            median[g] = (greatest[g, at] + least[g, after]) / 2
        elif least[g, at] == greatest[g, at]:
            median[g] = least[g, at]
        else:
            low[g], high[g] = least[g, at], greatest[g, at]
