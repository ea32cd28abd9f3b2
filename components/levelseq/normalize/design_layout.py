"""A design by its distinct rows: the cells in which all samples have the same mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layout", "layout"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """A design by its distinct rows.

    Attributes:
        rows_CK: the distinct rows, C cells x K columns.
        start_C1: (C + 1,) where each cell's samples start, once samples are in `order`.
        order_S: sample numbers, cell after cell.
        null_K: coefficients whose fitted values come nearest to one everywhere.
        one_way: as many cells as columns, so that each cell has a mean of its own.
    """

    rows_CK: F64
    start_C1: Int
    order_S: Int
    null_K: F64
    one_way: bool


def layout(design_SK: F64) -> Layout:
    """The layout of a design of full rank; cells keep the order in which they first occur."""
    rows, first, cell_S = np.unique(design_SK, axis=0, return_index=True, return_inverse=True)
    by_first = np.argsort(first, kind="stable")
    rank = np.empty_like(by_first)
    rank[by_first] = np.arange(len(by_first))
    cell_S = rank[cell_S.reshape(-1)]
    start = np.concatenate([[0], np.cumsum(np.bincount(cell_S, minlength=len(rows)))])
    null, *_ = np.linalg.lstsq(design_SK, np.ones(len(design_SK)), rcond=None)
    return Layout(
        np.ascontiguousarray(rows[by_first], dtype=np.float64),
        start.astype(np.int64),
        np.argsort(cell_S, kind="stable").astype(np.int64),
        np.ascontiguousarray(null, dtype=np.float64),
        len(rows) == design_SK.shape[1],
    )
