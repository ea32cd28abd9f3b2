"""How to read: the variable genes of a cohort, laid out once on local disk for random access."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from levelseq.cohort.cohort import Cohort
from levelseq.cohort.gene_space import GeneSpace

__all__ = ["GeneCounts"]

Indices = np.ndarray[Any, np.dtype[np.int64]]


class GeneCounts:
    """Counts of a gene space's variable genes, in CSR arrays on local scratch disk.

    One pass over the shards writes them; afterwards any rows can be read in any order, and the
    memory in use is what the operating system caches. Close it, or use it with `with`.

    Attributes:
        size_factors: (n,) library over the space's genes, on the space's scale. Genes that the
            cohort lacks are made up for by their share of the counts.
        measured: (genes,) whether every deposit has the gene; columns of others hold zeros.

    Raises:
        BadInput: more than a fifth of the variable genes are missing.
    """

    def __init__(self, cohort: Cohort, space: GeneSpace) -> None:
        scale_genes, self.measured = space.measured_in(cohort)
        index = cohort.var().index
        scaled = index.get_indexer(space.table.index[scale_genes])
        columns = index.get_indexer(np.array(space.variable)[self.measured])
        self._scratch = tempfile.TemporaryDirectory(prefix="levelseq-")
        folder = Path(self._scratch.name)
        lengths, libraries = [np.zeros(1, dtype=np.int64)], []
        with (folder / "data").open("wb") as data, (folder / "indices").open("wb") as indices:
            for shard in cohort.shards():
                counts: sp.csr_matrix = shard.X
                libraries.append(
                    np.asarray(counts[:, scaled].sum(axis=1, dtype=np.float64)).ravel()
                )
                block = counts[:, columns]
                block.data.astype(np.float32).tofile(data)
                np.flatnonzero(self.measured)[block.indices].astype(np.int32).tofile(indices)
                lengths.append(np.diff(block.indptr).astype(np.int64))
        self._indptr = np.cumsum(np.concatenate(lengths))
        self._data = _map(folder / "data", np.float32)
        self._indices = _map(folder / "indices", np.int32)
        measured_share = float(space.table["share"][scale_genes].sum())
        library = np.concatenate(libraries) / max(measured_share, 1e-12)
        self.size_factors = np.where(library > 0, library / space.reference_library, 1.0)
        self.shape = (len(self._indptr) - 1, len(space.variable))

    def __enter__(self) -> GeneCounts:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the scratch files."""
        self._scratch.cleanup()

    @property
    def arrays(self) -> tuple[Any, Any, Indices]:
        """Counts, genes and where each observation starts, as in CSR."""
        return np.asarray(self._data), np.asarray(self._indices), self._indptr

    def rows(self, observations: Indices) -> sp.csr_matrix:
        """(observations, genes) counts as float32 CSR."""
        starts, ends = self._indptr[observations], self._indptr[observations + 1]
        indptr = np.concatenate([[0], np.cumsum(ends - starts)])
        picked = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], ends - starts)
        shape = (len(observations), self.shape[1])
        return sp.csr_matrix((self._data[picked], self._indices[picked], indptr), shape=shape)


def _map(path: Path, dtype: Any) -> np.ndarray[Any, Any]:
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")
