"""Values gene by gene, block after block, as many passes as a method needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import rankdata

from levelseq.errors import BadOption
from levelseq.normalize.chunks import Matrix, as_dense, is_sparse

__all__ = ["GeneBlocks", "gene_blocks", "most_variable", "selected"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
GeneBlocks = Callable[[], Iterator[tuple[slice, NDArray[np.float64]]]]
"""Called once for each pass; blocks (g, S) of values of neighbouring genes, and their place."""

_BLOCK_ELEMENTS = 8_000_000
_FEWEST = 100


def gene_blocks(x_SG: Matrix) -> GeneBlocks:
    """Dense blocks of at most 64 MB of a matrix in memory; a small one is turned once."""
    matrix: Any = sp.csc_matrix(x_SG) if is_sparse(x_SG) else np.asarray(x_SG)
    if matrix.shape[0] * matrix.shape[1] <= _BLOCK_ELEMENTS:
        whole_GS = np.ascontiguousarray(as_dense(matrix).T)
        return lambda: iter([(slice(0, len(whole_GS)), whole_GS)])
    step = max(1, _BLOCK_ELEMENTS // max(1, matrix.shape[0]))

    def read() -> Iterator[tuple[slice, F64]]:
        for start in range(0, matrix.shape[1], step):
            genes = slice(start, min(start + step, matrix.shape[1]))
            yield genes, np.ascontiguousarray(as_dense(matrix[:, genes]).T)

    return read


def selected(blocks: GeneBlocks, keep_G: Bool) -> GeneBlocks:
    """Blocks of some genes only, their places counted among these."""
    if keep_G.all():
        return blocks

    def read() -> Iterator[tuple[slice, F64]]:
        start = 0
        for genes, x_gS in blocks():
            if keep_G[genes].any():
                kept_gS = x_gS[keep_G[genes]]
                yield slice(start, start + len(kept_gS)), kept_gS
                start += len(kept_gS)

    return read


def most_variable(blocks: GeneBlocks, size: int, *, one_less: bool = False) -> Bool:
    """(G,): the genes of most variance, `size` of them or as many as ties leave.

    Raises:
        BadOption: fewer than 100, or more than there are genes.
    """
    variance_G = np.concatenate([x_gS.var(axis=1, ddof=1) for _, x_gS in blocks()])
    if not _FEWEST <= size <= len(variance_G):
        raise BadOption(
            f"{size} is not between {_FEWEST} and {len(variance_G)}, the number of genes",
            where="variance_filter",
        )
    rank_G = rankdata(-variance_G)
    return np.asarray(rank_G < size if one_less else rank_G <= size)
