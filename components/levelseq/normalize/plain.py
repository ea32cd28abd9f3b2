"""Normalization of plain files: a count table and a sample table in, one file out."""

from __future__ import annotations

import gzip
import os
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import pandas as pd

from levelseq.cohort.batch_tree import parse_levels
from levelseq.errors import BadInput, BadOption
from levelseq.normalize.counts import extend_fit, fit_counts
from levelseq.normalize.methods import CATALOGUE, resolved
from levelseq.normalize.output_genes import read_gene_list
from levelseq.normalize.params import MethodParams
from levelseq.normalize.plain_tables import check_ending, matched, read_counts, read_table
from levelseq.normalize.state import ClassicalState, read_state, refuse_choices
from levelseq.progress import notice
from levelseq.store import open_store, parent, split_scheme

__all__ = ["PlainFiles", "normalize_files"]


class PlainFiles(NamedTuple):
    """Addresses of plain files; an empty one is not used.

    Attributes:
        counts: genes x samples (.csv, .tsv, .txt, also .gz), or an .h5ad.
        samples: the sample table, its first column the samples' names; empty: the .h5ad's `obs`.
        genes: the gene table, with columns gene_id and gc or length.
        out: written: a table genes x samples, or an .h5ad, by its ending.
        save_fit: folder where the fit is kept; beside `fitted`, with the batches that are new.
        fitted: folder of an earlier fit, on whose scale these samples are brought.
    """

    counts: str
    samples: str = ""
    genes: str = ""
    out: str = ""
    save_fit: str = ""
    fitted: str = ""


def normalize_files(files: PlainFiles, params: MethodParams, batch: str = "") -> str:
    """Normalize one table of counts and write the values; nothing is written on an error.

    Args:
        files: what is read and written.
        params: the method and its choices.
        batch: the column of batches; nested ones as 'site>lab'.

    Returns:
        The address written.

    Raises:
        BadAddress: a file is not there.
        BadDeposit: a file cannot be read as what it should be; names up to three samples.
        BadInput: the method is not defined for what is in the files.
        BadOption: an unknown method, column or file ending, an option that the method does not
            use, or an `out` that is one of the files read.
    """
    fit = None
    if files.fitted:
        refuse_choices(params)
        fit = read_state(files.fitted)
        params = fit.params
    columns = _columns(params, batch, fit)
    _check_options(files, params, batch, columns)
    data = read_counts(files.counts, counts=params.values != "given")
    if files.samples:
        data.obs = matched(read_table(files.samples, "column"), data, files.samples)
    if files.genes:
        _add_genes(data, files.genes)
    for option, names in columns.items():
        for name in names:
            _check_column(data, name, option, files.samples or files.counts)
    values, fit = _normalized(data, params, batch, fit, files)
    folder, name = parent(files.out)
    # Both are made before either is written, so that an error leaves neither.
    content, kept = _content(values, name), fit.files() if files.save_fit else {}
    open_store(folder).put(name, content)
    for part, of_fit in kept.items():
        open_store(files.save_fit).put(part, of_fit)
    return files.out


def _columns(params: MethodParams, batch: str, fit: ClassicalState | None) -> dict[str, list[str]]:
    """The samples' columns that are read, by the option that names them."""
    kept = {"--condition": [params.condition], "--covariates": params.covariates}
    kept |= {"--second-batch": [params.second_batch], "--removed": params.removed}
    if fit is not None:
        # Not all that its own samples told is asked of new ones.
        kept = {o: [name for name in names if name in fit.columns] for o, names in kept.items()}
    columns = {"--batch": parse_levels(batch), **kept}
    return {option: [name for name in names if name] for option, names in columns.items()}


def _check_options(
    files: PlainFiles, params: MethodParams, batch: str, columns: dict[str, list[str]]
) -> None:
    """Refuse what the method would ignore or lack, before anything is read."""
    resolved(params)
    method = CATALOGUE[params.method]
    fits_batch = method.name == "voom" or not params.blind
    reads_batch = method.needs_batch or (fits_batch and not files.fitted)
    if method.needs_batch and not batch:
        raise BadOption(f"{method.name} needs the column of batches", where="--batch")
    if batch and not reads_batch:
        users = ", ".join(m.name for m in CATALOGUE.values() if m.needs_batch)
        raise BadOption(
            f"{method.name} does not use it",
            where="--batch",
            do="leave it out" if files.fitted else f"it is for {users}, voom",
        )
    check_ending(files.out, "--out")
    for address, what in (
        (files.counts, "counts file"),
        (files.samples, "sample table"),
        (files.genes, "gene table"),
    ):
        if address and _place(address) == _place(files.out):
            raise BadOption(f"is the {what}", where="--out", do="choose another name")
    if any(columns.values()) and not files.samples and not files.counts.endswith(".h5ad"):
        raise BadOption(
            "a table of counts needs a sample table",
            where="--samples",
            do="give the one that has the columns, or a method without batches",
        )


def _add_genes(data: ad.AnnData, address: str) -> None:
    """Put GC content and length of the gene table beside the counts' genes."""
    table = read_table(address, "column")
    if "gene_id" in table.columns:
        table = table.set_index(table["gene_id"].astype(str))
    if not {"gc", "length"} & set(table.columns):
        raise BadInput(
            "has neither a column gc nor one length",
            where=address,
            do="its columns are gene_id, gc, length",
        )
    table = table[~table.index.duplicated()]
    for column in ("gc", "length"):
        if column in table.columns:
            data.var[column] = table[column].reindex(data.var_names).to_numpy()


def _place(address: str) -> str:
    """An address by which two names of one file are equal."""
    scheme, rest = split_scheme(address)
    return os.path.realpath(rest) if scheme == "file" else address


def _check_column(data: ad.AnnData, column: str, option: str, address: str) -> None:
    """Refuse a column that is not there or lacks values."""
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
    params: MethodParams,
    batch: str,
    fit: ClassicalState | None,
    files: PlainFiles,
) -> tuple[ad.AnnData, ClassicalState]:
    """The values and the fit; what is wrong with the data is said with the file that it is in."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        try:
            if fit is not None:
                values, fit = extend_fit(data, fit, batch or None)
            else:
                values, fit = fit_counts(
                    data,
                    batch=batch or None,
                    condition=params.condition or None,
                    control_genes=read_gene_list(params.control_genes, "--control-genes"),
                    **params.model_dump(exclude={"condition", "control_genes"}),
                )
        except BadOption:
            raise
        except BadInput as error:
            of_samples = error.where.startswith("column")
            address = (files.samples or files.counts) if of_samples else files.counts
            # "data" and "combat" say no more than the address does.
            within = "" if error.where in ("", "data", params.method) else f", {error.where}"
            do = error.do or ("change that column" if of_samples else "give raw counts")
            raise BadInput(error.message, where=f"{address}{within}", do=do) from error
    for warning in told:
        notice("normalize", str(warning.message))
    return values, fit


def _content(values: ad.AnnData, name: str) -> bytes:
    """The file to write."""
    if name.endswith(".h5ad"):
        return _h5ad(values)
    beside = sorted(set(values.layers) - {"counts"})
    if beside:
        notice("normalize", f"{', '.join(beside)} are written to an .h5ad only")
    return _table(values, name)


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
