"""10x HDF5, of Cell Ranger 3 and later (group `matrix`) and of 2 (a group named by the genome)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import pandas as pd
import scipy.sparse as sp

from levelseq.errors import BadDeposit
from levelseq.ingest.readers.hdf5 import Matrix, open_hdf5, text_array
from levelseq.ingest.readers.reading import Files, Format, Reading
from levelseq.ingest.readers.tenx_mtx import expression_genes

__all__ = ["FORMAT", "is_tenx"]


def _groups(file: h5py.File) -> list[str]:
    groups = (name for name in file if isinstance(file[name], h5py.Group))
    return [name for name in groups if "barcodes" in file[name]]


def is_tenx(file: h5py.File) -> bool:
    """Whether a file has a group with barcodes, as Cell Ranger writes it."""
    return bool(_groups(file))


def _group(file: h5py.File, where: str) -> str:
    groups = _groups(file)
    if len(groups) != 1:
        raise BadDeposit(
            f"holds {len(groups)} matrices", where=where, do="give one genome in a file"
        )
    return groups[0]


def _features(group: h5py.Group, where: str) -> tuple[list[str], list[str]]:
    """Gene ids, and the type of each feature ('' where the file has none)."""
    if "features" in group:
        types = text_array(group["features"]["feature_type"])
        return text_array(group["features"]["id"]), types
    genes = text_array(group["genes"])
    return genes, [""] * len(genes)


def _count(files: Files, where: str) -> int:
    with open_hdf5(files["file"], where) as file:
        return len(file[_group(file, where)]["barcodes"])


def _read(files: Files, where: str, scratch: Path) -> Reading:
    with open_hdf5(files["file"], where) as file:
        name = _group(file, where)
        features, types = _features(file[name], where)
        barcodes = text_array(file[name]["barcodes"])
        # Features x barcodes, compressed by barcode: rows, seen from the observations.
        matrix = Matrix(name, "rows", len(barcodes), features, where)
        n_features, n_barcodes = (int(n) for n in file[name]["shape"][:])
        matrix.check_shape(file, [n_barcodes, n_features])
        error = matrix.first_bad(file)
        if error is not None:
            raise error
    kept = expression_genes(types, where)
    obs = pd.DataFrame(index=pd.RangeIndex(len(barcodes)))
    genes = [features[i] for i in kept]

    def blocks() -> Iterator[sp.csr_matrix]:
        with open_hdf5(files["file"], where) as again:
            for block in matrix.blocks(again, scratch):
                yield block if len(kept) == len(features) else block[:, kept]

    return Reading(barcodes, genes, obs, blocks())


FORMAT = Format(_count, _read)
