"""A deposit's objects on the store: which format they are, their digest, a local copy."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from levelseq.errors import BadAddress, BadDeposit
from levelseq.ingest.readers import Files
from levelseq.ingest.readers.hdf5 import open_hdf5
from levelseq.ingest.readers.tenx_h5 import is_tenx
from levelseq.ingest.readers.tenx_mtx import PARTS
from levelseq.store import open_store, parent

__all__ = ["Located", "deposit_format", "deposit_sha256", "file_sha256", "is_one_file", "locate"]

_TEXT = re.compile(r"\.(csv|tsv|txt)(\.gz)?$", re.I)
_HDF5 = re.compile(r"\.(h5ad|h5|hdf5)$", re.I)
_READ = "give .csv or .tsv (genes x cells), .h5ad, 10x .h5, or a folder with matrix.mtx"


@dataclass(frozen=True)
class Located:
    """The objects of one deposit: their folder, and part -> name in it."""

    folder: str
    names: dict[str, str]

    @contextlib.contextmanager
    def local(self) -> Iterator[Files]:
        """Local files with the objects' bytes."""
        store = open_store(self.folder)
        with contextlib.ExitStack() as copies:
            yield {
                part: copies.enter_context(store.local_copy(name))
                for part, name in self.names.items()
            }


def is_one_file(address: str) -> bool:
    """Whether an address is that of a file by its extension, and not of a 10x folder."""
    return bool(_TEXT.search(address) or _HDF5.search(address))


def locate(address: str) -> Located:
    """The objects behind a deposit's address.

    Raises:
        BadAddress: there is nothing.
        BadDeposit: the format cannot be told.
    """
    folder, name = parent(address)
    if is_one_file(name):
        if not open_store(folder).exists(name):
            raise BadAddress("there is nothing at this address", where=address, do="check it")
        return Located(folder, {"file": name})
    if open_store(folder).exists(name):
        raise BadDeposit("the format of this file cannot be told", where=address, do=_READ)
    return Located(address, _parts(address))


def _parts(address: str) -> dict[str, str]:
    store = open_store(address)
    found = {part: [name for name in names if store.exists(name)] for part, names in PARTS.items()}
    if not any(found.values()):
        raise BadAddress("neither a deposit nor a 10x folder is here", where=address, do=_READ)
    for part, names in found.items():
        if len(names) != 1:
            raise BadDeposit(
                f"the folder has {', '.join(names) or f'no {part}.*'}",
                where=address,
                do="a 10x folder has one each of matrix.mtx, barcodes.tsv and features.tsv",
            )
    return {part: names[0] for part, names in found.items()}


def deposit_format(files: Files, where: str) -> str:
    """Which of the readers reads these files; HDF5 is told by its content.

    Raises:
        BadDeposit: HDF5 of another kind, or damaged.
    """
    if "matrix" in files:
        return "tenx_mtx"
    if not _HDF5.search(files["file"].name):
        return "csv"
    with open_hdf5(files["file"], where) as file:
        if "obs" in file and "var" in file:
            return "h5ad"
        if is_tenx(file):
            return "tenx_h5"
    raise BadDeposit("is HDF5, neither AnnData nor 10x", where=where, do=_READ)


def file_sha256(path: Path) -> str:
    """The digest of one file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def deposit_sha256(files: Files) -> str:
    """The digest of a deposit: of its file, or over its parts' names and digests."""
    if set(files) == {"file"}:
        return file_sha256(files["file"])
    digest = hashlib.sha256()
    for part in sorted(files):
        digest.update(f"{part}\0{file_sha256(files[part])}\n".encode())
    return digest.hexdigest()
