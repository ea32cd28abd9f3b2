"""A copy of streamed counts gene by gene, for what needs a gene's whole row.

One pass over the chunks writes it. A small one stays in memory; a large one lies in a file that
is gone when the copy is closed, and blocks of genes are read from it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.chunks import Chunks, is_sparse

__all__ = ["GeneMajor", "gene_major"]

_IN_MEMORY_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 28


class GeneMajor:
    """Counts (G, S), an array or a file that looks like one."""

    def __init__(self, x_GS: NDArray[Any]) -> None:
        self.x_GS = x_GS

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Blocks of genes (g, S) in memory, of at most 256 MB, with their place."""
        n_genes, n_samples = self.x_GS.shape
        step = max(1, _BLOCK_BYTES // max(1, 8 * n_samples))
        for start in range(0, n_genes, step):
            genes = slice(start, min(start + step, n_genes))
            yield genes, np.ascontiguousarray(self.x_GS[genes])


@contextmanager
def gene_major(chunks: Chunks, n_samples: int, n_genes: int, dtype: Any) -> Iterator[GeneMajor]:
    """The copy, in one pass over the chunks; it is gone when the block is left.

    Args:
        chunks: counts, samples x genes.
        n_samples, n_genes: how many there are in all.
        dtype: of the counts; values are stored as it.
    """
    with tempfile.TemporaryDirectory(prefix="levelseq-") as folder:
        copy = GeneMajor(_array((n_genes, n_samples), np.dtype(dtype), folder))
        start = 0
        for chunk in chunks():
            stop = start + chunk.x_SG.shape[0]
            for genes in _columns(n_genes, stop - start):
                part = chunk.x_SG[:, genes]
                copy.x_GS[genes, start:stop] = (part.toarray() if is_sparse(part) else part).T
            start = stop
        yield copy


def _columns(n_genes: int, n_samples: int) -> list[slice]:
    """Slices of genes whose dense block stays small."""
    step = max(1, _BLOCK_BYTES // max(1, 8 * n_samples))
    return [slice(i, min(i + step, n_genes)) for i in range(0, n_genes, step)]


def _array(shape: tuple[int, ...], dtype: np.dtype[Any], folder: str) -> NDArray[Any]:
    if int(np.prod(shape)) * dtype.itemsize <= _IN_MEMORY_BYTES:
        return np.zeros(shape, dtype)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
