"""Normalization of plain files: a count table and a sample table in, one file out."""

from __future__ import annotations

import gzip
import os
import tempfile
import warnings
from pathlib import Path

import anndata as ad
import pandas as pd

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.counts import METHODS, normalize_counts
from levelseq.normalize.plain_tables import check_ending, matched, read_counts, read_table
from levelseq.progress import notice
from levelseq.store import open_store, parent, split_scheme

__all__ = ["normalize_files"]


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
            .h5ad's own `obs`. Only combat needs one.
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
        BadInput: the method is not defined for what is in the files.
        BadOption: an unknown method, column or file ending, an option that the method does not
            use, or an `out` that is one of the files read.
    """
    columns = {"--batch": batch, "--condition": condition}
    _check_method(method, columns | {"--reference-batch": reference_batch})
    check_ending(out, "--out")
    for address, what in ((counts, "counts file"), (samples, "sample table")):
        if address and _place(address) == _place(out):
            raise BadOption(f"is the {what}", where="--out", do="choose another name")
    if method == "combat" and not samples and not counts.endswith(".h5ad"):
        raise BadOption(
            "a table of counts needs a sample table",
            where="--samples",
            do="give the one that has the batch, or a method without batches",
        )
    data = read_counts(counts)
    if samples:
        data.obs = matched(read_table(samples, "column"), data, samples)
    for option, column in columns.items():
        _check_column(data, column, option, samples or counts)
    values = _normalized(data, method, batch, condition, reference_batch, counts, samples)
    _write(values, out)
    return out


def _check_method(method: str, only_combat: dict[str, str]) -> None:
    """Refuse an unknown method, and options that it would ignore or lack."""
    if method not in METHODS:
        raise BadOption(
            f"{method!r} is not a method", where="--method", do=f"use one of {', '.join(METHODS)}"
        )
    if method == "combat":
        if not only_combat["--batch"]:
            raise BadOption("combat needs the column of batches", where="--batch")
        return
    for option, value in only_combat.items():
        if value:
            raise BadOption("only combat uses it", where=option, do="give --method combat")


def _place(address: str) -> str:
    """An address by which two names of one file are equal."""
    scheme, rest = split_scheme(address)
    return os.path.realpath(rest) if scheme == "file" else address


def _check_column(data: ad.AnnData, column: str, option: str, address: str) -> None:
    """Refuse a column that is not there or lacks values."""
    if not column:
        return
    if column not in data.obs.columns:
        raise BadOption(
            f"no column {column!r} in {address}",
            where=option,
            do=f"columns are {', '.join(map(str, data.obs.columns[:20])) or 'none'}",
        )
    absent = data.obs_names[pd.isna(data.obs[column])]
    if len(absent):
        raise BadInput(
            f"has no value for {len(absent)} of {data.n_obs} samples, "
            f"such as {', '.join(map(str, absent[:3]))}",
            where=f"{address}, column {column!r}",
            do="fill it in, or leave those samples out of the counts",
        )


def _normalized(
    data: ad.AnnData,
    method: str,
    batch: str,
    condition: str,
    reference_batch: str,
    counts: str,
    samples: str,
) -> ad.AnnData:
    """The values; what is wrong with the data is said with the file that it is in."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        try:
            values = normalize_counts(
                data, method, batch, condition or None, reference_batch=reference_batch
            )
        except BadOption:
            raise
        except BadInput as error:
            of_samples = error.where.startswith("column")
            address = (samples or counts) if of_samples else counts
            # "data" and "combat" say no more than the address does.
            within = "" if error.where in ("", "data", "combat") else f", {error.where}"
            do = error.do or ("change that column" if of_samples else "give raw counts")
            raise BadInput(error.message, where=f"{address}{within}", do=do) from error
    for warning in told:
        notice("normalize", str(warning.message))
    return values


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
