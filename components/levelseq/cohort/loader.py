"""How to read: the variable genes of a cohort, laid out once on local disk for random access."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from levelseq.cohort.cohort import Cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.shards import ShardReader

__all__ = ["GeneCounts", "gene_counts"]

Indices = np.ndarray[Any, np.dtype[np.int64]]


class GeneCounts:
    """Counts of a gene space's variable genes, in CSR arrays on local scratch disk.

    One pass over the shards writes them; afterwards any rows can be read in any order, and the
    memory in use is what the operating system caches. The files go with the object.

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
        scratch = tempfile.TemporaryDirectory(prefix="levelseq-")
        weakref.finalize(self, scratch.cleanup)
        folder = Path(scratch.name)
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


_laid_out: weakref.WeakKeyDictionary[ShardReader, tuple[GeneSpace, GeneCounts]]
_laid_out = weakref.WeakKeyDictionary()


def gene_counts(cohort: Cohort, space: GeneSpace) -> GeneCounts:
    """The counts of a cohort's variable genes.

    Laid out when they are first asked for, and kept while the cohort is: a step that fits a model
    asks for them once for each thing that it measures.

    Raises:
        BadInput: more than a fifth of the variable genes are missing.
    """
    kept = _laid_out.get(cohort.reader)
    if kept is None or kept[0] is not space:
        kept = _laid_out[cohort.reader] = space, GeneCounts(cohort, space)
    return kept[1]


def _map(path: Path, dtype: Any) -> np.ndarray[Any, Any]:
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")
