"""Compiled parts of quantile normalization: a row's order, and values by rank.

Values are sorted by the bits of their floating-point numbers, eight at a time, which keeps equal
values in the order of their genes, and skips bits that all values share: counts need few passes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel

__all__ = ["level_bins", "onto_target"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

_SIGN = np.uint64(1 << 63)
_ALL = np.uint64((1 << 64) - 1)
_DIGIT = np.uint64(255)


@kernel
def _sort(values: F64, key: U64, order: I64, other_key: U64, other_order: I64) -> bool:
    """Stable order of values without NaN; the keys are their bits, made to compare as numbers.

    Gives whether the order is in `other_order` instead of `order`.
    """
    n = len(values)
    counts = np.zeros((8, 256), np.int64)
    for i in range(n):
        # -0.0 becomes 0.0, so that the two are equal.
        bits = np.float64(values[i] + 0.0).view(np.uint64)
        bits ^= _ALL if bits & _SIGN else _SIGN
        key[i], order[i] = bits, i
        for digit in range(8):
            counts[digit, (bits >> np.uint64(8 * digit)) & _DIGIT] += 1
    swapped = False
    for digit in range(8):
        shift = np.uint64(8 * digit)
        count = counts[digit]
        if n == 0 or count[(key[0] >> shift) & _DIGIT] == n:
            continue
        place = 0
        for d in range(256):
            here = count[d]
            count[d] = place
            place += here
        for i in range(n):
            d = (key[i] >> shift) & _DIGIT
            other_key[count[d]], other_order[count[d]] = key[i], order[i]
            count[d] += 1
        key, order, other_key, other_order = other_key, other_order, key, order
        swapped = not swapped
    return swapped


@kernel
def onto_target(x_SG: F64, target_G: F64, ties: bool, out_SG: F64) -> None:
    """Each row's values replaced by the target's value at their rank; NaN stays NaN.

    With `ties`, equal values get the target at their mean rank, else those next to each other
    in the target, in the order of their genes. A row with NaN takes the target at evenly
    spaced places from its least to its greatest.
    """
    n_genes = x_SG.shape[1]
    present, values = np.empty(n_genes, np.int64), np.empty(n_genes)
    key, other_key = np.empty(n_genes, np.uint64), np.empty(n_genes, np.uint64)
    first, second = np.empty(n_genes, np.int64), np.empty(n_genes, np.int64)
    for s in range(x_SG.shape[0]):
        n = 0
        for g in range(n_genes):
            out_SG[s, g] = np.nan
            if not np.isnan(x_SG[s, g]):
                present[n], values[n] = g, x_SG[s, g]
                n += 1
        order = second if _sort(values[:n], key, first, other_key, second) else first
        step = (n_genes - 1) / (n - 1) if n > 1 else 0.0
        start = 0
        while start < n:
            end = start + 1
            if ties:
                while end < n and values[order[end]] == values[order[start]]:
                    end += 1
            rank = (start + end - 1) / 2
            place = rank if n == n_genes else rank * step
            low = min(int(place), n_genes - 1)
            high = min(low + 1, n_genes - 1)
            value = target_G[low]
            if place > low:
                value += (target_G[high] - target_G[low]) * (place - low)
            for i in range(start, end):
                out_SG[s, present[order[i]]] = value
            start = end


@kernel
def _interpolated(y: F64, low: int, part: float) -> float:
    return float(y[low] + (y[low + 1] - y[low]) * part) if part > 0.0 else float(y[low])


@kernel
def level_bins(
    x_SG: F64,
    gene: I64,
    start_B: I64,
    up_low: I64,
    up_part: F64,
    down_low: I64,
    down_part: F64,
    out_SG: F64,
) -> None:
    """Full-quantile across bins of genes, within each row.

    Args:
        x_SG: samples x genes.
        gene: genes sorted by bin, in their order within a bin.
        start_B: where each bin starts in `gene`, and the end (B + 1).
        up_low, up_part: (B, N) of the largest bin's size N, flat: where each of N evenly spaced
            places lies among a bin's sorted values, as the value before and the part to the next.
        down_low, down_part: (G,), the other way: where a bin's ranks lie among the N.
        out_SG: the values, written.
    """
    n_bins = len(start_B) - 1
    largest = 0
    for b in range(n_bins):
        largest = max(largest, start_B[b + 1] - start_B[b])
    values, target = np.empty(largest), np.empty(largest)
    key, other_key = np.empty(largest, np.uint64), np.empty(largest, np.uint64)
    first, second = np.empty(largest, np.int64), np.empty(largest, np.int64)
    place, ordered = np.empty(len(gene), np.int64), np.empty(largest)
    for s in range(x_SG.shape[0]):
        target[:] = 0.0
        for b in range(n_bins):
            start, n = start_B[b], start_B[b + 1] - start_B[b]
            for i in range(n):
                values[i] = x_SG[s, gene[start + i]]
            order = second if _sort(values[:n], key, first, other_key, second) else first
            for i in range(n):
                ordered[i] = values[order[i]]
                place[start + i] = gene[start + order[i]]
            for k in range(largest):
                at = b * largest + k
                target[k] += _interpolated(ordered, up_low[at], up_part[at])
        for k in range(largest):
            target[k] /= n_bins
        for i in range(len(gene)):
            out_SG[s, place[i]] = _interpolated(target, down_low[i], down_part[i])
