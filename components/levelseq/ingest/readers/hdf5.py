"""Sparse and dense matrices in HDF5, read in blocks that fit memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp

from levelseq.errors import BadDeposit
from levelseq.ingest.readers.buckets import CellBuckets
from levelseq.ingest.readers.reading import BLOCK_VALUES, first_bad, refuse_count
from levelseq.ingest.readers.text import naming_damage

__all__ = ["Matrix", "open_hdf5", "text_array"]

Numbers = np.ndarray[Any, Any]


@contextlib.contextmanager
def open_hdf5(path: Path, where: str) -> Iterator[h5py.File]:
    """An HDF5 file; one that is cut off, damaged or lacks a part is a BadDeposit."""
    with naming_damage(where):
        try:
            with h5py.File(path, "r") as file:
                yield file
        except KeyError as error:
            raise BadDeposit(
                f"lacks a part of its format: {str(error.args[0])[:100]}",
                where=where,
                do="write it again",
            ) from error


def text_array(data: h5py.Dataset) -> list[str]:
    """A dataset of text, fixed or variable in length."""
    return [v.decode() if isinstance(v, bytes) else str(v) for v in data[:]]


@dataclass(frozen=True)
class Matrix:
    """Where the counts stand in a file and how.

    Attributes:
        path: in the file; a group for sparse, a dataset for dense.
        kind: `rows` (compressed by observation), `columns` (by gene) or `dense`.
        n_obs: observations.
        genes: names, for errors.
        where: the deposit's address, for errors.
    """

    path: str
    kind: str
    n_obs: int
    genes: list[str]
    where: str

    def check_shape(self, file: h5py.File, shape: list[int]) -> None:
        """BadDeposit where the matrix and the names around it disagree."""
        wanted = [self.n_obs, len(self.genes)]
        if shape == wanted and self.kind != "dense":
            axis = {"rows": 0, "columns": 1}[self.kind]
            pointers = file[self.path]["indptr"]
            sizes = {len(file[self.path][part]) for part in ("data", "indices")}
            if pointers.shape == (wanted[axis] + 1,) and sizes == {int(pointers[-1])}:
                return
        elif shape == wanted:
            return
        raise BadDeposit(
            f"{self.path} is not {wanted[0]} observations x {wanted[1]} genes, as its names say",
            where=self.where,
            do="write it again",
        )

    def first_bad(self, file: h5py.File) -> BadDeposit | None:
        """The error for the first value that is no count, or None."""
        data = file[self.path] if self.kind == "dense" else file[self.path]["data"]
        step = max(1, BLOCK_VALUES // max(1, int(np.prod(data.shape[1:]))))
        for start in range(0, data.shape[0], step):
            values = data[start : start + step].ravel()
            bad = first_bad(values)
            if bad is not None:
                cell, gene = self._place(file, start * int(np.prod(data.shape[1:])) + bad)
                place = f"{self.path}, gene {self.genes[gene]!r}, cell {cell + 1}"
                return refuse_count(float(values[bad]), place, self.where)
        return None

    def blocks(self, file: h5py.File, scratch: Path) -> Iterator[sp.csr_matrix]:
        """Consecutive observations x genes of values that `first_bad` let pass."""
        if self.kind == "dense":
            return self._dense(file)
        return self._rows(file) if self.kind == "rows" else self._columns(file, scratch)

    def _place(self, file: h5py.File, i: int) -> tuple[int, int]:
        if self.kind == "dense":
            return divmod(i, len(self.genes))
        major = int(np.searchsorted(file[self.path]["indptr"][:], i, side="right")) - 1
        minor = int(file[self.path]["indices"][i])
        return (major, minor) if self.kind == "rows" else (minor, major)

    def _dense(self, file: h5py.File) -> Iterator[sp.csr_matrix]:
        step = max(1, BLOCK_VALUES // max(1, len(self.genes)))
        for start in range(0, self.n_obs, step):
            yield sp.csr_matrix(file[self.path][start : start + step].astype(np.uint32))

    def _slices(self, file: h5py.File, n: int) -> Iterator[tuple[int, Numbers, Numbers, Numbers]]:
        """First row, indptr from 0, indices and data, of as many rows as a block may hold."""
        group = file[self.path]
        pointers = group["indptr"][:].astype(np.int64)
        start = 0
        while start < n:
            full = int(np.searchsorted(pointers, pointers[start] + BLOCK_VALUES, side="right")) - 1
            stop = min(n, max(start + 1, full))
            part = slice(pointers[start], pointers[stop])
            indices, data = group["indices"][part].astype(np.int64), group["data"][part]
            yield start, pointers[start : stop + 1] - pointers[start], indices, data
            start = stop

    def _rows(self, file: h5py.File) -> Iterator[sp.csr_matrix]:
        for _, pointers, indices, data in self._slices(file, self.n_obs):
            self._check_indices(pointers, indices, len(self.genes))
            shape = (len(pointers) - 1, len(self.genes))
            block = sp.csr_matrix((data.astype(np.uint32), indices, pointers), shape=shape)
            block.sum_duplicates()
            if block.nnz < len(data):
                raise BadDeposit(
                    f"{self.path} has two entries for one cell and gene",
                    where=self.where,
                    do="keep one of the entries",
                )
            block.eliminate_zeros()
            yield block

    def _columns(self, file: h5py.File, scratch: Path) -> Iterator[sp.csr_matrix]:
        buckets = CellBuckets(scratch, self.n_obs)
        for start, pointers, indices, data in self._slices(file, len(self.genes)):
            self._check_indices(pointers, indices, self.n_obs)
            genes = start + np.repeat(np.arange(len(pointers) - 1), np.diff(pointers))
            buckets.add(indices, genes, data)
        yield from buckets.blocks(self.genes, self.where)

    def _check_indices(self, pointers: Numbers, indices: Numbers, size: int) -> None:
        inside = (indices >= 0) & (indices < size)
        if not inside.all() or (np.diff(pointers) < 0).any():
            raise BadDeposit(
                f"{self.path} has an entry outside its shape", where=self.where, do="write it again"
            )
