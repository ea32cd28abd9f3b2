"""A 10x folder: matrix.mtx, barcodes.tsv, features.tsv (or genes.tsv), compressed or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from levelseq import progress
from levelseq.errors import BadDeposit
from levelseq.ingest.readers.buckets import CellBuckets
from levelseq.ingest.readers.reading import Files, Format, Reading, first_bad, refuse_count
from levelseq.ingest.readers.text import decompressed, naming_damage, open_text

__all__ = ["FORMAT", "PARTS", "expression_genes"]

# Names that Cell Ranger gives, newest first.
PARTS = {
    "matrix": ("matrix.mtx.gz", "matrix.mtx"),
    "barcodes": ("barcodes.tsv.gz", "barcodes.tsv"),
    "features": ("features.tsv.gz", "features.tsv", "genes.tsv.gz", "genes.tsv"),
}

_CHUNK = 1 << 24

Numbers = np.ndarray[Any, Any]


def expression_genes(types: list[str], where: str) -> Numbers:
    """Places of the features that are genes: antibodies, guides and tags are left out."""
    kept = np.flatnonzero([kind in ("", "Gene Expression") for kind in types])
    if len(kept) < len(types):
        left_out = len(types) - len(kept)
        progress.notice("ingest", "features other than genes left out", features=left_out)
    if not len(kept):
        raise BadDeposit("has no features of type 'Gene Expression'", where=where)
    return kept


def _columns(path: Path, where: str) -> list[list[str]]:
    with naming_damage(where), open_text(path) as lines:
        return [[f.strip().strip('"') for f in line.split("\t")] for line in lines if line.strip()]


def _shape(matrix: IO[bytes], where: str) -> tuple[int, int, int]:
    """Genes, cells and entries, as the header declares them."""
    kind = matrix.readline().decode("ascii", "replace").lower().split()
    good = kind[:1] == ["%%matrixmarket"] and kind[1:3] == ["matrix", "coordinate"]
    if not good or kind[3:] not in (["integer", "general"], ["real", "general"]):
        raise BadDeposit(
            "matrix.mtx does not begin as a MatrixMarket coordinate matrix of integers",
            where=where,
            do="export the folder again",
        )
    lines = (line for line in matrix if line.strip() and not line.startswith(b"%"))
    fields = next(lines, b"").split()
    if len(fields) != 3 or not all(field.isdigit() for field in fields):
        raise BadDeposit("matrix.mtx has no line of dimensions", where=where)
    n_genes, n_cells, n_entries = map(int, fields)
    return n_genes, n_cells, n_entries


def _count(files: Files, where: str) -> int:
    with naming_damage(where), decompressed(files["matrix"]) as matrix:
        return _shape(matrix, where)[1]


def _entries(text: bytes, where: str) -> Numbers:
    """(entries, 3): gene, cell and value, the first two from 1."""
    try:
        values = np.fromstring(text, dtype=np.float64, sep=" ")
    except ValueError:
        values = np.empty(1)
    if len(values) != 3 * len(text.split(b"\n")):
        raise BadDeposit(
            "matrix.mtx has a line that is not 'gene cell count'",
            where=where,
            do="export the folder again",
        )
    return values.reshape(-1, 3)


def _check(entries: Numbers, shape: tuple[int, int, int], where: str) -> None:
    for column, size, what in ((0, shape[0], "gene"), (1, shape[1], "cell")):
        numbers = entries[:, column]
        outside = ~((numbers >= 1) & (numbers <= size) & (numbers == np.floor(numbers)))
        if outside.any():
            raise BadDeposit(
                f"matrix.mtx has an entry for {what} {numbers[np.argmax(outside)]:g} of {size}",
                where=where,
                do="export the folder again: header and entries disagree",
            )
    bad = first_bad(entries[:, 2])
    if bad is not None:
        gene, cell, value = entries[bad]
        raise refuse_count(float(value), f"gene {gene:g}, cell {cell:g}", where)


def _read(files: Files, where: str, scratch: Path) -> Reading:
    features = _columns(files["features"], where)
    barcodes = [row[0] for row in _columns(files["barcodes"], where)]
    with naming_damage(where), decompressed(files["matrix"]) as matrix:
        shape = _shape(matrix, where)
        _check_sizes(shape, len(features), len(barcodes), where)
        buckets = CellBuckets(scratch, len(barcodes))
        kept = expression_genes([row[2] if len(row) > 2 else "" for row in features], where)
        renumbered = np.full(len(features), -1)
        renumbered[kept] = np.arange(len(kept))
        found = 0
        for entries in _chunks(matrix, where):
            _check(entries, shape, where)
            found += len(entries)
            genes = renumbered[entries[:, 0].astype(np.int64) - 1]
            entries = entries[genes >= 0]
            buckets.add(entries[:, 1] - 1, genes[genes >= 0], entries[:, 2])
    if found != shape[2]:
        many = "too many" if found > shape[2] else ""
        raise BadDeposit(
            f"matrix.mtx declares {shape[2]} entries and has {found}: {many or 'too few'}",
            where=where,
            do="export the folder again" if many else "copy it again: it may be cut off",
        )
    names = [features[i][0] for i in kept]
    obs = pd.DataFrame(index=pd.RangeIndex(len(barcodes)))
    return Reading(barcodes, names, obs, buckets.blocks(names, where))


def _chunks(matrix: IO[bytes], where: str) -> Iterator[Numbers]:
    rest = b""
    while chunk := matrix.read(_CHUNK):
        text, _, rest = (rest + chunk).rpartition(b"\n")
        if text.strip():
            yield _entries(text.strip(), where)
    if rest.strip():
        yield _entries(rest.strip(), where)


def _check_sizes(shape: tuple[int, int, int], n_genes: int, n_cells: int, where: str) -> None:
    names = (("features.tsv", shape[0], n_genes), ("barcodes.tsv", shape[1], n_cells))
    for file, declared, found in names:
        if declared != found:
            raise BadDeposit(
                f"matrix.mtx declares {declared} rows of {file}, which has {found}",
                where=where,
                do="export the folder again; rows are genes and columns cells",
            )


FORMAT = Format(_count, _read)
