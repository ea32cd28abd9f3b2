"""Plain tables of counts and of samples, read and checked before a method sees them."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from levelseq.errors import BadDeposit, BadOption
from levelseq.ingest.readers.reading import first_bad, refuse_count
from levelseq.normalize.chunks import is_sparse
from levelseq.progress import notice
from levelseq.store import open_store, parent, read_bytes

__all__ = ["check_ending", "check_table", "matched", "read_counts", "read_h5ad", "read_table"]

_FEATURE_COUNTS = ["Chr", "Start", "End", "Strand", "Length"]
"""What featureCounts (Liao, Smyth & Shi 2014) writes between the genes and the samples."""
_TABLES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")


def check_ending(address: str, where: str) -> None:
    """Refuse an address that is neither a table nor an .h5ad by its name.

    Raises:
        BadOption: it has another ending.
    """
    if not address.endswith((*_TABLES, ".h5ad")):
        raise BadOption(
            f"{address} has no ending that is known", where=where, do="use .csv, .tsv or .h5ad"
        )


def check_table(address: str, where: str) -> None:
    """Refuse an address that is no table by its name.

    Raises:
        BadOption: it has another ending.
    """
    if not address.endswith(_TABLES):
        raise BadOption(f"{address} is no table by its name", where=where, do="use .csv or .tsv")


def read_counts(address: str, *, counts: bool = True) -> ad.AnnData:
    """Samples x genes, whatever the file's orientation; checked to be counts, as in ingest.

    Args:
        address: of the file.
        counts: otherwise the values may be any numbers, and an empty cell is a missing one.

    Raises:
        BadDeposit: not a table or .h5ad of counts; names the sample and the gene.
    """
    check_ending(address, "COUNTS")
    with warnings.catch_warnings():
        # Names that are there twice are refused below, in one line.
        warnings.filterwarnings("ignore", message=".*names are not unique")
        data = read_h5ad(address) if address.endswith(".h5ad") else _read_count_table(address)
    _no_duplicates(data.obs_names, "sample", address)
    _no_duplicates(data.var_names, "gene", address)
    if counts:
        _check_counts(data, address)
    return data


def _read_count_table(address: str) -> ad.AnnData:
    table = read_table(address, "sample")
    length_G = None
    if list(table.columns[: len(_FEATURE_COUNTS)]) == _FEATURE_COUNTS:
        length_G = table["Length"].to_numpy()
        table = table.drop(columns=_FEATURE_COUNTS)
    frame = table.T
    if len(frame) > frame.shape[1]:
        notice(
            "normalize",
            f"{address} has {len(frame)} samples and {frame.shape[1]} genes: rows are genes, "
            "columns samples",
        )
    try:
        matrix = frame.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        text = [str(s) for s in frame.index if frame.loc[s].map(_is_text).any()]
        where = f"{address}, sample {text[0]}" if text else address
        raise BadDeposit(
            "holds text where counts should be", where=where, do="leave only names and counts"
        ) from error
    obs, var = pd.DataFrame(index=frame.index), pd.DataFrame(index=frame.columns)
    if length_G is not None:
        var["length"] = length_G
    return ad.AnnData(X=matrix, obs=obs, var=var)


def _check_counts(data: ad.AnnData, address: str) -> None:
    """Refuse the first value that is not a count; other kinds of X are the method's to refuse."""
    matrix: Any = data.X
    if matrix is None or matrix.dtype.kind not in "iuf":
        return
    sparse: Any = matrix.tocoo() if is_sparse(matrix) else None
    values = np.ravel(matrix) if sparse is None else sparse.data
    bad = first_bad(values)
    if bad is None:
        return
    if sparse is None:
        sample, gene = divmod(bad, data.n_vars)
    else:
        sample, gene = int(sparse.row[bad]), int(sparse.col[bad])
    place = f"sample {data.obs_names[sample]}, gene {data.var_names[gene]}"
    value = float(values[bad])
    refusal = refuse_count(value, place, address)
    if np.isfinite(value) and value > 0:
        do = "give raw counts; round estimated ones; log values go with --values given"
        raise BadDeposit(refusal.message, where=refusal.where, do=do) from refusal
    raise refusal


def _no_duplicates(names: pd.Index, what: str, address: str) -> None:
    twice = names[names.duplicated()]
    if len(twice):
        raise BadDeposit(
            f"{what} {str(twice[0])!r} is there twice", where=address, do=f"give each {what} once"
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def read_h5ad(address: str) -> ad.AnnData:
    """An .h5ad file.

    Raises:
        BadDeposit: it is none.
    """
    folder, name = parent(address)
    with open_store(folder).local_copy(name) as path:
        try:
            return ad.read_h5ad(path)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise BadDeposit("is not an .h5ad file", where=address) from error


def read_table(address: str, head: str) -> pd.DataFrame:
    """A table with its first column as index; R's header, one field short, is understood.

    Args:
        address: the file.
        head: what the names in its first line are, for messages: sample or column.

    Raises:
        BadDeposit: not a table, or a name is in its first line twice.
    """
    content = read_bytes(address)
    try:
        if address.endswith(".gz"):
            content = gzip.decompress(content)
        separator = "," if ".csv" in Path(address).suffixes[-2:] else "\t"
        while content.startswith(b"#") and b"\n" in content:
            content = content.split(b"\n", 1)[1]
        frame = pd.read_csv(io.BytesIO(content), sep=separator, low_memory=False)
    except (OSError, EOFError, zlib.error) as error:
        raise BadDeposit("is cut short or is not gzip", where=address) from error
    except pd.errors.EmptyDataError as error:
        raise BadDeposit("is empty", where=address, do="give the table") from error
    except (UnicodeDecodeError, pd.errors.ParserError) as error:
        reason = str(error).splitlines()[0]
        if isinstance(error, UnicodeDecodeError):
            do = "write it as UTF-8"
        elif "Expected" in reason:
            do = "give every row as many fields as the first"
        else:
            do = "check its quotes and its separator"
        raise BadDeposit(f"is not a table: {reason}", where=address, do=do) from error
    if isinstance(frame.index, pd.MultiIndex):
        raise BadDeposit(
            f"names {frame.shape[1]} columns in its first line and has "
            f"{frame.shape[1] + frame.index.nlevels} in the next",
            where=address,
            do="give it one line of names, one name a column",
        )
    whole = isinstance(frame.index, pd.RangeIndex)
    # pandas renames what is there twice, so look at the line itself.
    _no_duplicates(pd.Index(_first_line(content, separator)[whole:]), head, address)
    if whole:
        frame = frame.set_index(frame.columns[0])
    frame.index = frame.index.astype(str)
    if str(frame.index.name).startswith("Unnamed:"):
        frame.index.name = None
    if frame.empty:
        raise BadDeposit(
            "has no columns or rows beside the names", where=address, do="check its separator"
        )
    return frame


def _first_line(content: bytes, separator: str) -> list[str]:
    """The names in a table's first line; none where it cannot be taken apart."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    try:
        names = next((line for line in csv.reader(text, delimiter=separator) if line), [])
    except csv.Error:
        return []
    # An empty first name keeps its place; other columns without a name are no duplicates.
    return [name for i, name in enumerate(names) if name or i == 0]


def matched(table: pd.DataFrame, data: ad.AnnData, address: str) -> pd.DataFrame:
    """The rows of the sample table in the order of the counts.

    Raises:
        BadDeposit: it lacks samples, or has one twice.
    """
    twice = table.index[table.index.duplicated()]
    if len(twice):
        raise BadDeposit(
            f"sample {str(twice[0])!r} is there twice",
            where=address,
            do="its first column must hold the samples' names, each once",
        )
    absent = [name for name in data.obs_names if name not in table.index]
    if absent:
        raise BadDeposit(
            f"lacks {len(absent)} of the {data.n_obs} samples, such as {', '.join(absent[:3])}",
            where=address,
            do="its first column must hold the names in the head of the counts",
        )
    rows: pd.DataFrame = table.loc[list(data.obs_names)]
    return rows
