"""Counts as a method reads them: chunk after chunk, as many passes as it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.errors import BadInput

__all__ = [
    "Chunk",
    "Chunks",
    "Matrix",
    "as_dense",
    "checked",
    "dense_rows",
    "in_memory",
    "is_sparse",
    "some_rows",
]

F64 = NDArray[np.float64]
Matrix = Any
"""An array or a scipy sparse matrix, samples x genes."""

_BLOCK_ELEMENTS = 1 << 20


class Chunk(NamedTuple):
    """Some samples: counts (S, G) and the samples' names for messages."""

    x_SG: Matrix
    samples: Sequence[str]


Chunks = Callable[[], Iterator[Chunk]]
"""Called once for each pass; every pass gives the same chunks in the same order."""


def in_memory(x_SG: Matrix, samples: Sequence[str] | None = None) -> Chunks:
    """One chunk of a matrix in memory; samples are named by row when they have no names.

    Raises:
        BadInput: not two-dimensional, empty, negative, NaN or infinite.
    """
    matrix = checked(x_SG, samples)
    names = samples if samples is not None else [f"row {i}" for i in range(matrix.shape[0])]
    return lambda: iter([Chunk(matrix, names)])


def checked(
    x_SG: Matrix,
    samples: Sequence[str] | None = None,
    *,
    counts: bool = True,
    missing: bool = False,
) -> Matrix:
    """The matrix as array or CSR, when all its values are finite (and, as counts, not negative).

    Args:
        x_SG: samples x genes.
        samples: their names, for messages.
        counts: whether the values are counts.
        missing: whether NaN stands for a missing value.

    Raises:
        BadInput: not two-dimensional, empty, negative, NaN or infinite; names the first sample.
    """
    matrix: Any = sp.csr_matrix(x_SG) if is_sparse(x_SG) else np.asarray(x_SG)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise BadInput(
            f"need samples x genes, not an array of shape {tuple(matrix.shape)}", where="data"
        )
    if matrix.dtype.kind not in "biuf":
        raise BadInput(f"values are of type {matrix.dtype}, not numbers", where="data")
    values: NDArray[Any] = matrix.data if is_sparse(matrix) else matrix
    if matrix.dtype.kind in "bu" or values.size == 0:
        return matrix
    # Least and greatest tell without an array of booleans, and NaN is neither.
    low, high = values.min(), values.max()
    if matrix.dtype.kind == "f":
        if missing and np.isnan(low):
            low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        infinite = np.isinf(low) or np.isinf(high)
        if infinite or (np.isnan(low) and not missing):
            bad = np.isinf(values) if missing else ~np.isfinite(values)
            raise BadInput("a value is NaN or infinite", where=_first(matrix, bad, samples))
    if counts and low < 0:
        raise BadInput("a count is negative", where=_first(matrix, values < 0, samples))
    return matrix


def _first(matrix: Matrix, bad: NDArray[np.bool_], samples: Sequence[str] | None) -> str:
    """The name of the first sample with a bad value."""
    if is_sparse(matrix):
        row = int(np.searchsorted(matrix.indptr, np.argmax(bad), side="right")) - 1
    else:
        row = int(np.argmax(bad.any(axis=1)))
    return f"sample {samples[row]}" if samples is not None else f"sample in row {row}"


def is_sparse(x_SG: Matrix) -> bool:
    """Whether a matrix is a scipy sparse one."""
    return bool(sp.issparse(x_SG))


def as_dense(x_SG: Matrix) -> F64:
    """(S, G) as a dense float64 array."""
    return np.asarray(x_SG.toarray() if is_sparse(x_SG) else x_SG, dtype=np.float64)


def dense_rows(x_SG: Matrix) -> Iterator[tuple[slice, F64]]:
    """Dense float64 blocks of rows of at most 8 MB, so that a shard is never dense as a whole."""
    step = max(1, _BLOCK_ELEMENTS // max(1, x_SG.shape[1]))
    for start in range(0, x_SG.shape[0], step):
        rows = slice(start, min(start + step, x_SG.shape[0]))
        yield rows, as_dense(some_rows(x_SG, rows))


def some_rows(x_SG: Matrix, rows: slice) -> Matrix:
    """Some rows in a row, without a copy: scipy's own slices are one."""
    if not is_sparse(x_SG) or x_SG.format != "csr":
        return x_SG[rows]
    first, last, _ = rows.indices(x_SG.shape[0])
    start, stop = x_SG.indptr[first], x_SG.indptr[last]
    parts = x_SG.data[start:stop], x_SG.indices[start:stop], x_SG.indptr[first : last + 1] - start
    return sp.csr_matrix(parts, shape=(last - first, x_SG.shape[1]), copy=False)
