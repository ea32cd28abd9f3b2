"""Counts that arrive gene by gene, turned to observation by observation in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from levelseq.errors import BadDeposit

__all__ = ["BUCKET_OBSERVATIONS", "CellBuckets"]

BUCKET_OBSERVATIONS = 1024

_BUFFERED = 1 << 22
_ENTRY = np.dtype([("cell", "<u4"), ("gene", "<u4"), ("count", "<u4")])

Numbers = np.ndarray[Any, Any]


class CellBuckets:
    """Entries sorted into scratch files, one for every 1,024 observations.

    Memory is the buffer plus one bucket, whatever the number of observations.
    """

    def __init__(self, scratch: Path, n_obs: int) -> None:
        self._folder = scratch
        self._n_obs = n_obs
        self._buffer: list[Numbers] = []
        self._buffered = 0

    def add(self, cells: Numbers, genes: Numbers | int, counts: Numbers) -> None:
        """Entries of observations x genes, in any order; zeros are dropped."""
        entries = np.empty(len(cells), dtype=_ENTRY)
        entries["cell"], entries["gene"], entries["count"] = cells, genes, counts
        entries = entries[entries["count"] > 0]
        self._buffer.append(entries)
        self._buffered += len(entries)
        if self._buffered >= _BUFFERED:
            self._flush()

    def blocks(self, genes: list[str], where: str) -> Iterator[sp.csr_matrix]:
        """Consecutive observations x genes; BadDeposit where an entry is given twice."""
        self._flush()
        for start in range(0, self._n_obs, BUCKET_OBSERVATIONS):
            shape = (min(BUCKET_OBSERVATIONS, self._n_obs - start), len(genes))
            path = self._path(start // BUCKET_OBSERVATIONS)
            entries = np.fromfile(path, dtype=_ENTRY) if path.exists() else np.empty(0, _ENTRY)
            place = (entries["cell"] - np.uint32(start), entries["gene"])
            block = sp.coo_matrix((entries["count"], place), shape=shape).tocsr()
            if block.nnz < len(entries):
                raise BadDeposit(_twice(entries, genes), where=where, do="keep one of the entries")
            yield block
            path.unlink(missing_ok=True)

    def _flush(self) -> None:
        if not self._buffer:
            return
        entries = np.concatenate(self._buffer)
        bucket = entries["cell"] // BUCKET_OBSERVATIONS
        order = np.argsort(bucket, kind="stable")
        entries, bucket = entries[order], bucket[order]
        starts = np.flatnonzero(np.diff(bucket, prepend=-1))
        for number, part in zip(bucket[starts], np.split(entries, starts[1:])):
            with self._path(int(number)).open("ab") as out:
                part.tofile(out)
        self._buffer, self._buffered = [], 0

    def _path(self, number: int) -> Path:
        return self._folder / f"bucket-{number:06d}"


def _twice(entries: Numbers, genes: list[str]) -> str:
    places = entries[["cell", "gene"]]
    values, times = np.unique(places, return_counts=True)
    cell, gene = values[np.argmax(times > 1)].tolist()
    return f"gene {genes[gene]!r} has two entries for cell {cell + 1}"
