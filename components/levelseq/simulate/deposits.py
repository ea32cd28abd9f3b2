"""Deposits as labs deliver them: R's CSV, 10x folders, AnnData. Same counts, same bytes."""

from __future__ import annotations

import gzip
import io
from typing import NamedTuple

import anndata as ad
import h5py
import pandas as pd
import scipy.sparse as sp

from levelseq.simulate.cells import CELL_COLUMNS

__all__ = ["FORMATS", "Deposit", "format_deposit", "zipped"]

FORMATS = ("csv", "mtx", "h5ad")


class Deposit(NamedTuple):
    """A deposit's files by path, its address, and its metadata's address or nothing."""

    files: dict[str, bytes]
    address: str
    metadata: str


def format_deposit(
    style: str, name: str, counts: sp.csr_matrix, cells: pd.DataFrame, genes: list[str]
) -> Deposit:
    """The files of one deposit.

    Args:
        style: one of `FORMATS`.
        name: of the deposit; its paths are below `deposits/`.
        counts: (cells, genes).
        cells: the cell columns, indexed by barcode.
        genes: gene ids, in the order of the counts' columns.
    """
    write = {"csv": _csv, "mtx": _mtx, "h5ad": _h5ad}[style]
    return write(f"deposits/{name}", counts, cells, genes)


def zipped(text: str | bytes) -> bytes:
    """Gzip without a time, so that the same text gives the same bytes."""
    content = text.encode() if isinstance(text, str) else text
    return gzip.compress(content, compresslevel=4, mtime=0)


def _quoted(values: list[str]) -> str:
    return ",".join(f'"{value}"' for value in values)


def _csv(stem: str, counts: sp.csr_matrix, cells: pd.DataFrame, genes: list[str]) -> Deposit:
    """Genes x cells and a table of cells, as R writes them: headers one field short."""
    lines = [_quoted(list(cells.index))]
    for gene, row in zip(genes, counts.T.toarray()):
        lines.append(f'"{gene}",' + ",".join(map(str, row.tolist())))
    about = [_quoted(CELL_COLUMNS)]
    about += [_quoted(list(row)) for row in cells[CELL_COLUMNS].itertuples()]
    files = {
        f"{stem}.count.csv.gz": zipped("\n".join([*lines, ""])),
        f"{stem}.metadata.csv.gz": zipped("\n".join([*about, ""])),
    }
    return Deposit(files, *files)


def _mtx(stem: str, counts: sp.csr_matrix, cells: pd.DataFrame, genes: list[str]) -> Deposit:
    """A Cell Ranger folder, genes x cells from 1, and a table of cells beside it."""
    by_cell = counts.tocoo()
    entries = pd.DataFrame({"g": by_cell.col + 1, "c": by_cell.row + 1, "n": by_cell.data})
    head = "%%MatrixMarket matrix coordinate integer general\n%\n"
    head += f"{len(genes)} {len(cells)} {by_cell.nnz}\n"
    body = entries.to_csv(sep=" ", header=False, index=False, lineterminator="\n")
    features = "".join(f"{gene}\t{gene}\tGene Expression\n" for gene in genes)
    files = {
        f"{stem}/matrix.mtx.gz": zipped(head + body),
        f"{stem}/features.tsv.gz": zipped(features),
        f"{stem}/barcodes.tsv.gz": zipped("".join(f"{barcode}\n" for barcode in cells.index)),
        f"{stem}.metadata.csv.gz": zipped(cells[CELL_COLUMNS].to_csv(lineterminator="\n")),
    }
    return Deposit(files, stem, f"{stem}.metadata.csv.gz")


def _h5ad(stem: str, counts: sp.csr_matrix, cells: pd.DataFrame, genes: list[str]) -> Deposit:
    """AnnData that carries its cells' columns itself."""
    data = ad.AnnData(
        counts, obs=cells[CELL_COLUMNS].copy(), var=pd.DataFrame(index=pd.Index(genes, name="gene"))
    )
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        ad.io.write_elem(file, "/", data, dataset_kwargs={"compression": "gzip"})
    return Deposit({f"{stem}.h5ad": content.getvalue()}, f"{stem}.h5ad", "")
