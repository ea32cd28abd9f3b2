"""Counts as dense float64 rows, a few at a time, in threads: what every size factor reads.

The groups and blocks depend on the number of genes alone, so results do not depend on threads.
A sparse matrix is made dense one block at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunk, Chunks, Matrix, is_sparse
from levelseq.normalize.compiled import blocks, in_threads, kernel

__all__ = [
    "BLOCK_ROWS",
    "dense_blocks",
    "in_groups",
    "libraries",
    "need_counts",
    "of_all_rows",
    "with_rows",
]

F64 = NDArray[np.float64]
Result = TypeVar("Result")

BLOCK_ROWS = 16
"""Blocks have a multiple of so many rows, but for a chunk's last."""

_BLOCK_ELEMENTS = 1 << 17
_GROUP_ELEMENTS = 1 << 20
_EXACT_SUM = 2.0**53


def with_rows(chunks: Chunks) -> Iterator[Chunk]:
    """The chunks of one pass, but for those without samples."""
    return (chunk for chunk in chunks() if chunk.x_SG.shape[0])


def in_groups(x_SG: Matrix, work: Callable[[slice], Result]) -> list[Result]:
    """What `work` makes of each group of rows, in order; groups run beside each other."""
    n_samples, n_genes = x_SG.shape
    return in_threads(work, blocks(n_samples, _rows(_GROUP_ELEMENTS, n_genes, 4)))


def dense_blocks(x_SG: Matrix, rows: slice) -> Iterator[tuple[slice, F64]]:
    """Dense float64 blocks of some rows, and where they are in `x_SG`.

    A block is to be read only, and before the next one is asked for.
    """
    step = _rows(_BLOCK_ELEMENTS, x_SG.shape[1], 1)
    # One room for all blocks: fresh memory costs more than the conversion.
    room: F64 | None = None
    for start in range(rows.start, rows.stop, step):
        part = slice(start, min(start + step, rows.stop))
        block: Any = None if is_sparse(x_SG) else x_SG[part]
        if block is None or block.dtype != np.float64 or not block.flags.c_contiguous:
            room = np.empty((step, x_SG.shape[1])) if room is None else room
            into = room[: part.stop - part.start]
            if block is None:
                first, last = x_SG.indptr[part.start], x_SG.indptr[part.stop]
                values = np.asarray(x_SG.data[first:last], dtype=np.float64)
                indptr = x_SG.indptr[part.start : part.stop + 1]
                _scatter(indptr, x_SG.indices[first:last], values, into)
            else:
                np.copyto(into, block)
            block = into
        yield part, block


@kernel
def _scatter(
    indptr: NDArray[np.integer], indices: NDArray[np.integer], values: F64, out_RG: F64
) -> None:
    """Rows of a CSR matrix, dense; a gene that is stored twice in a row is added."""
    out_RG[:] = 0.0
    for r in range(out_RG.shape[0]):
        row = out_RG[r]
        for i in range(indptr[r] - indptr[0], indptr[r + 1] - indptr[0]):
            row[indices[i]] += values[i]


def libraries(block: F64) -> F64:
    """The rows' sums as R has them: it adds in extended precision."""
    sum_S = block.sum(axis=1)
    rounded = (sum_S != np.floor(sum_S)) | (sum_S >= _EXACT_SUM)
    if rounded.any():
        sum_S[rounded] = block[rounded].sum(axis=1, dtype=np.longdouble).astype(np.float64)
    return np.asarray(sum_S)


def need_counts(chunk: Chunk, library_S: F64) -> None:
    """Refuse a chunk with a sample that has no counts.

    Raises:
        BadInput: names the first such sample.
    """
    if not library_S.all():
        name = chunk.samples[int(np.argmin(library_S))]
        raise BadInput("has no counts", where=f"sample {name}", do="leave the sample out")


def of_all_rows(chunks: Chunks, work: Callable[[F64], F64]) -> F64:
    """One value a sample, in one pass: what `work` makes of each dense block."""
    parts: list[F64] = []
    for chunk in with_rows(chunks):
        x_SG = chunk.x_SG

        def of_group(rows: slice, x_SG: Matrix = x_SG) -> F64:
            return np.concatenate([work(block) for _, block in dense_blocks(x_SG, rows)])

        parts += in_groups(x_SG, of_group)
    return np.concatenate(parts) if parts else np.empty(0)


def _rows(elements: int, n_genes: int, least: int) -> int:
    return BLOCK_ROWS * max(least, elements // max(1, n_genes * BLOCK_ROWS))
