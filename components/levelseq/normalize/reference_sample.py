"""What edgeR's factors know of all samples: libraries, expressed genes, quantiles, a reference."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Chunk, Chunks, as_dense
from levelseq.normalize.row_groups import (
    dense_blocks,
    in_groups,
    libraries,
    need_counts,
    of_all_rows,
    with_rows,
)
from levelseq.normalize.selection import pairs_of_rows

__all__ = [
    "Overview",
    "middle_sample",
    "overview",
    "quantiles",
    "reference_row",
    "root_sums",
]

F64 = NDArray[np.float64]


class Overview(NamedTuple):
    """Library sizes (S,), and which genes have a count in any sample (G,)."""

    library_S: F64
    expressed_G: NDArray[np.bool_]


def overview(chunks: Chunks, method: str) -> Overview:
    """Libraries and expressed genes, in one pass.

    Raises:
        BadInput: a sample has no counts, or there are no samples.
    """
    parts = [part for chunk in with_rows(chunks) for part in _of_chunk(chunk)]
    if not parts:
        raise BadInput("there are no samples", where=method)
    expressed_G = np.logical_or.reduce([part.expressed_G for part in parts])
    return Overview(np.concatenate([part.library_S for part in parts]), expressed_G)


def _of_chunk(chunk: Chunk) -> list[Overview]:
    def of_group(rows: slice) -> Overview:
        sums, largest_G = [], np.zeros(chunk.x_SG.shape[1])
        for _, block in dense_blocks(chunk.x_SG, rows):
            sums.append(libraries(block))
            np.maximum(largest_G, block.max(axis=0), out=largest_G)
        return Overview(np.concatenate(sums), largest_G > 0)

    parts = in_groups(chunk.x_SG, of_group)
    need_counts(chunk, np.concatenate([part.library_S for part in parts]))
    return parts


def middle_sample(chunks: Chunks, seen: Overview) -> int:
    """The sample that edgeR's TMM compares with: its upper quartile is next to the mean one."""
    unexpressed = int((~seen.expressed_G).sum())
    quartile_S = of_all_rows(chunks, lambda block: quantiles(block, 0.75, unexpressed))
    quartile_S = quartile_S / seen.library_S
    if np.median(quartile_S) < 1e-20:
        return int(np.argmax(root_sums(chunks, "tmm")))
    return int(np.argmin(np.abs(quartile_S - _mean(quartile_S))))


def root_sums(chunks: Chunks, method: str) -> F64:
    """Sums of square roots of the samples' counts (S,), in one pass.

    Raises:
        BadInput: there are no samples.
    """

    def of_block(block: F64) -> F64:
        return np.asarray(np.sqrt(block).sum(axis=1, dtype=np.longdouble), dtype=np.float64)

    sum_S = of_all_rows(chunks, of_block)
    if len(sum_S) == 0:
        raise BadInput("there are no samples", where=method)
    return sum_S


def quantiles(x_SG: F64, p: float, skipped: int = 0) -> F64:
    """R's `quantile(x, p)`, type 7, of each row without its first `skipped` zeros.

    Written as R writes it, since a last bit can change which sample is the reference.
    """
    index = max(x_SG.shape[1] - skipped - 1, 0) * p + 1
    low = math.floor(index)
    low_S, high_S = np.empty(len(x_SG)), np.empty(len(x_SG))
    pairs_of_rows(x_SG, skipped + low - 1, low_S, high_S)
    h = index - low
    between = (1 - h) * low_S + h * high_S
    return np.where((h > 0) & (high_S != low_S), between, low_S)


def reference_row(chunks: Chunks, wanted: int | str) -> F64:
    """The counts (G,) of one sample, by its number from 0 or its name; reads up to it.

    Raises:
        BadOption: there is no such sample.
    """
    seen = 0
    for chunk in with_rows(chunks):
        n = chunk.x_SG.shape[0]
        if isinstance(wanted, str):
            names = [str(name) for name in chunk.samples]
            row = names.index(wanted) if wanted in names else -1
        else:
            row = wanted - seen if seen <= wanted < seen + n else -1
        if row >= 0:
            return np.array(as_dense(chunk.x_SG[row : row + 1])[0])
        seen += n
    raise BadOption(f"there is no sample {wanted}", where="ref_column", do=f"there are {seen}")


def _mean(values: F64) -> float:
    """R's `mean`: two passes in extended precision."""
    wide = values.astype(np.longdouble)
    mean = np.add.accumulate(wide)[-1] / len(values)
    return float(mean + np.add.accumulate(wide - mean)[-1] / len(values))
