"""AnnData files. Counts are looked for in X, then layers['counts'], then raw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq import progress
from levelseq.errors import BadDeposit
from levelseq.ingest.readers.hdf5 import Matrix, open_hdf5
from levelseq.ingest.readers.reading import Files, Format, Reading

__all__ = ["FORMAT", "text_columns"]

# Where the counts may stand, with the names of the genes beside them.
_PLACES = (("X", "var"), ("layers/counts", "var"), ("raw/X", "raw/var"))
_KINDS = {"csr_matrix": "rows", "csc_matrix": "columns", "array": "dense"}


def text_columns(obs: pd.DataFrame) -> pd.DataFrame:
    """All columns as text; a missing value is an empty text."""
    text = {
        str(name): obs[name].astype(object).where(obs[name].notna().to_numpy(), "").astype(str)
        for name in obs.columns
    }
    return pd.DataFrame(text, index=obs.index)


def _frame(file: h5py.File, path: str) -> pd.DataFrame:
    frame = ad.io.read_elem(file[path])
    if not isinstance(frame, pd.DataFrame):
        raise KeyError(f"{path} is not a table")
    return frame


def _matrix(file: h5py.File, path: str, n_obs: int, genes: list[str], where: str) -> Matrix:
    element = file[path]
    encoding = str(element.attrs.get("encoding-type", "array"))
    if encoding not in _KINDS or (encoding == "array") == isinstance(element, h5py.Group):
        raise BadDeposit(f"{path} is written as {encoding!r}", where=where, do="write it as CSR")
    matrix = Matrix(path, _KINDS[encoding], n_obs, genes, where)
    shape = element.attrs["shape"] if isinstance(element, h5py.Group) else element.shape
    matrix.check_shape(file, [int(n) for n in shape])
    return matrix


def _find_counts(file: h5py.File, n_obs: int, where: str) -> Matrix:
    """The first place that holds counts; else the error for what is wrong in the first."""
    refused: list[BadDeposit] = []
    for path, var in _PLACES:
        if path not in file:
            continue
        genes = [str(name) for name in _frame(file, var).index]
        matrix = _matrix(file, path, n_obs, genes, where)
        error = matrix.first_bad(file)
        if error is None:
            if refused:
                progress.notice("ingest", "X holds no counts; taken from elsewhere", taken=path)
            return matrix
        refused.append(error)
    if not refused:
        raise BadDeposit("has no X", where=where, do="write counts to X")
    do = "put raw counts in X, layers['counts'] or raw"
    raise BadDeposit(refused[0].message, where=where, do=do)


def _count(files: Files, where: str) -> int:
    with open_hdf5(files["file"], where) as file:
        return len(_frame(file, "obs"))


def _read(files: Files, where: str, scratch: Path) -> Reading:
    with open_hdf5(files["file"], where) as file:
        obs = _frame(file, "obs")
        matrix = _find_counts(file, len(obs), where)
    barcodes = np.asarray(obs.index, dtype=str).tolist()
    columns = text_columns(obs).reset_index(drop=True)
    return Reading(barcodes, matrix.genes, columns, _blocks(files, matrix, scratch))


def _blocks(files: Files, matrix: Matrix, scratch: Path) -> Iterator[sp.csr_matrix]:
    with open_hdf5(files["file"], matrix.where) as file:
        yield from matrix.blocks(file, scratch)


FORMAT = Format(_count, _read)
