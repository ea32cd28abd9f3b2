"""What is asked of plain files and options before anything is computed."""

from __future__ import annotations

import os
from typing import NamedTuple

import anndata as ad
import pandas as pd

from levelseq.cohort.batch_tree import parse_levels
from levelseq.errors import BadInput, BadOption
from levelseq.normalize.methods import CATALOGUE, resolved
from levelseq.normalize.params import MethodParams
from levelseq.normalize.plain_tables import check_ending, check_table
from levelseq.normalize.state import ClassicalState
from levelseq.store import split_scheme

__all__ = ["PlainFiles", "check_column", "check_options", "columns_read"]


class PlainFiles(NamedTuple):
    """Addresses of plain files; an empty one is not used.

    Attributes:
        counts: genes x samples (.csv, .tsv, .txt, also .gz), or an .h5ad.
        samples: the sample table, its first column the samples' names; empty: the .h5ad's `obs`.
        genes: the gene table, with columns gene_id and gc or length.
        out: written: a table genes x samples, or an .h5ad, by its ending.
        out_samples: written: the sample table with what was found of each sample, such as size
            factors.
        save_fit: folder where the fit is kept; beside `fitted`, with the batches that are new.
        fitted: folder of an earlier fit, on whose scale these samples are brought.
    """

    counts: str
    samples: str = ""
    genes: str = ""
    out: str = ""
    out_samples: str = ""
    save_fit: str = ""
    fitted: str = ""


def columns_read(
    params: MethodParams, batch: str, fit: ClassicalState | None
) -> dict[str, list[str]]:
    """The samples' columns that are read, by the option that names them."""
    kept = {"--condition": [params.condition], "--covariates": params.covariates}
    kept |= {"--second-batch": [params.second_batch], "--removed": params.removed}
    if fit is not None:
        # Not all that its own samples told is asked of new ones.
        kept = {o: [name for name in names if name in fit.columns] for o, names in kept.items()}
    columns = {"--batch": parse_levels(batch), **kept}
    return {option: [name for name in names if name] for option, names in columns.items()}


def check_options(
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
        others = "voom and, with --no-blind, vst"
        raise BadOption(
            f"{method.name} does not use it",
            where="--batch",
            do="leave it out" if files.fitted else f"it is for {users}, {others}",
        )
    check_ending(files.out, "--out")
    if files.out_samples:
        check_table(files.out_samples, "--out-samples")
    for address, what in (
        (files.counts, "counts file"),
        (files.samples, "sample table"),
        (files.genes, "gene table"),
    ):
        for option, out in (("--out", files.out), ("--out-samples", files.out_samples)):
            if address and out and _place(address) == _place(out):
                raise BadOption(f"is the {what}", where=option, do="choose another name")
    if any(columns.values()) and not files.samples and not files.counts.endswith(".h5ad"):
        raise BadOption(
            "a table of counts needs a sample table",
            where="--samples",
            do="give the one that has the columns, or a method without batches",
        )


def check_column(data: ad.AnnData, column: str, option: str, address: str) -> None:
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


def _place(address: str) -> str:
    """An address by which two names of one file are equal."""
    scheme, rest = split_scheme(address)
    return os.path.realpath(rest) if scheme == "file" else address
