"""Dense results of methods that work row by row, a small block at a time, in threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.chunks import Matrix, as_dense
from levelseq.normalize.compiled import blocks, in_threads

__all__ = ["filled"]

F64 = NDArray[np.float64]

# Small enough that a block and what is made of it stay in a core's cache.
_BLOCK_ELEMENTS = 1 << 17


def filled(x_SG: Matrix, work: Callable[[F64, slice], F64]) -> F64:
    """(S, G): what `work` makes of each block of dense rows, given the block and its place.

    Args:
        x_SG: samples x genes, dense or CSR.
        work: takes float64 rows and the slice they are in `x_SG`; must not write to them.
    """
    out = np.empty(x_SG.shape)

    def fill(rows: slice) -> None:
        out[rows] = work(as_dense(x_SG[rows]), rows)

    in_threads(fill, blocks(x_SG.shape[0], max(1, _BLOCK_ELEMENTS // x_SG.shape[1])))
    return out
