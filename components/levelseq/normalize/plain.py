"""Normalization of plain files: a count table and a sample table in, one file out."""

from __future__ import annotations

import gzip
import io
import tempfile
import warnings
import zlib
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from levelseq.errors import BadDeposit, BadInput, BadOption
from levelseq.normalize.counts import METHODS, normalize_counts
from levelseq.progress import notice
from levelseq.store import open_store, parent, read_bytes

__all__ = ["normalize_files"]

_TABLES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")


def normalize_files(
    counts: str,
    samples: str,
    method: str,
    batch: str,
    condition: str,
    out: str,
    reference_batch: str = "",
) -> str:
    """Normalize one table of counts and write the values; nothing is written on an error.

    Args:
        counts: address of genes x samples (.csv, .tsv, .txt, also .gz), or of an .h5ad.
        samples: address of the sample table, its first column the samples' names; empty: the
            .h5ad's own `obs`.
        method: median_of_ratios, tmm, log1p_cpm or combat.
        batch: by combat, the column of batches.
        condition: by combat, the column that it keeps; empty: none.
        out: address written: a table genes x samples, or an .h5ad, by its ending.
        reference_batch: by combat, the batch that stays; empty: the mean over all.

    Returns:
        The address written.

    Raises:
        BadAddress: a file is not there.
        BadDeposit: a file cannot be read as what it should be; names up to three samples.
        BadOption: an unknown method, column or file ending.
    """
    if method not in METHODS:
        raise BadOption(
            f"{method!r} is not a method", where="--method", do=f"use one of {', '.join(METHODS)}"
        )
    _check_ending(out, "--out")
    data = _read_counts(counts)
    if samples:
        data.obs = _matched(_read_table(samples), data, samples)
    elif not counts.endswith(".h5ad"):
        raise BadOption("a table of counts needs a sample table", where="--samples")
    if method == "combat" and not batch:
        raise BadOption("combat needs the column of batches", where="--batch")
    for option, column in (("--batch", batch), ("--condition", condition)):
        _check_column(data, column, option, samples or counts)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        values = normalize_counts(
            data, method, batch, condition or None, reference_batch=reference_batch
        )
    for warning in told:
        notice("normalize", str(warning.message))
    _write(values, out)
    return out


def _check_column(data: ad.AnnData, column: str, option: str, address: str) -> None:
    if column and column not in data.obs.columns:
        raise BadOption(
            f"no column {column!r} in {address}",
            where=option,
            do=f"columns are {', '.join(map(str, data.obs.columns[:20])) or 'none'}",
        )


def _check_ending(address: str, where: str) -> None:
    if not address.endswith((*_TABLES, ".h5ad")):
        raise BadOption(
            f"{address} has no ending that is known", where=where, do="use .csv, .tsv or .h5ad"
        )


def _read_counts(address: str) -> ad.AnnData:
    """Samples x genes, whatever the file's orientation."""
    _check_ending(address, "COUNTS")
    if address.endswith(".h5ad"):
        data = _read_h5ad(address)
    else:
        frame = _read_table(address).T
        try:
            matrix = frame.to_numpy(dtype=np.float64)
        except (TypeError, ValueError) as error:
            text = [str(s) for s in frame.index if frame.loc[s].map(_is_text).any()]
            where = f"{address}, sample {text[0]}" if text else address
            raise BadDeposit("holds text where counts should be", where=where) from error
        _no_duplicates(frame.index, "sample", address)
        _no_duplicates(frame.columns, "gene", address)
        obs, var = pd.DataFrame(index=frame.index), pd.DataFrame(index=frame.columns)
        return ad.AnnData(X=matrix, obs=obs, var=var)
    _no_duplicates(data.obs_names, "sample", address)
    _no_duplicates(data.var_names, "gene", address)
    return data


def _no_duplicates(names: pd.Index, what: str, address: str) -> None:
    twice = names[names.duplicated()]
    if len(twice):
        raise BadDeposit(f"{what} {str(twice[0])!r} is there twice", where=address)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _read_h5ad(address: str) -> ad.AnnData:
    folder, name = parent(address)
    with open_store(folder).local_copy(name) as path:
        try:
            return ad.read_h5ad(path)
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise BadDeposit("is not an .h5ad file", where=address) from error


def _read_table(address: str) -> pd.DataFrame:
    """A table with its first column as index; R's header, one field short, is understood."""
    content = read_bytes(address)
    try:
        if address.endswith(".gz"):
            content = gzip.decompress(content)
        separator = "," if ".csv" in Path(address).suffixes[-2:] else "\t"
        frame = pd.read_csv(io.BytesIO(content), sep=separator, low_memory=False)
    except (OSError, EOFError, zlib.error) as error:
        raise BadDeposit("is cut short or is not gzip", where=address) from error
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).splitlines()[0]
        raise BadDeposit(f"is not a table: {reason}", where=address) from error
    if isinstance(frame.index, pd.RangeIndex):
        frame = frame.set_index(frame.columns[0])
    frame.index = frame.index.astype(str)
    if frame.empty:
        raise BadDeposit(
            "has no columns or rows beside the names", where=address, do="check its separator"
        )
    return frame


def _matched(table: pd.DataFrame, data: ad.AnnData, address: str) -> pd.DataFrame:
    """The rows of the sample table in the order of the counts."""
    _no_duplicates(table.index, "sample", address)
    absent = [name for name in data.obs_names if name not in table.index]
    if absent:
        raise BadDeposit(
            f"lacks {len(absent)} of the {data.n_obs} samples, such as {', '.join(absent[:3])}",
            where=address,
            do="its first column must hold the names in the head of the counts",
        )
    matched: pd.DataFrame = table.loc[list(data.obs_names)]
    return matched


def _write(values: ad.AnnData, address: str) -> None:
    folder, name = parent(address)
    open_store(folder).put(name, _h5ad(values) if name.endswith(".h5ad") else _table(values, name))


def _table(values: ad.AnnData, name: str) -> bytes:
    frame = values.to_df().T
    frame.index.name = "gene"
    separator = "," if ".csv" in Path(name).suffixes[-2:] else "\t"
    content = frame.to_csv(sep=separator).encode()
    return gzip.compress(content, mtime=0) if name.endswith(".gz") else content


def _h5ad(values: ad.AnnData) -> bytes:
    with tempfile.TemporaryDirectory(prefix="levelseq-") as scratch:
        path = Path(scratch) / "values.h5ad"
        try:
            values.write_h5ad(path)
        except (TypeError, ValueError) as error:
            raise BadInput(f"cannot be written as .h5ad: {error}", where="--out") from error
        return path.read_bytes()
