"""Normalization of plain files: a count table and a sample table in, one file out."""

from __future__ import annotations

import gzip
import tempfile
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.counts import extend_fit, fit_counts
from levelseq.normalize.output_genes import read_gene_list
from levelseq.normalize.params import MethodParams
from levelseq.normalize.plain_checks import (
    PlainFiles,
    check_column,
    check_options,
    columns_read,
)
from levelseq.normalize.plain_tables import matched, read_counts, read_table
from levelseq.normalize.state import ClassicalState, read_state, refuse_choices
from levelseq.progress import notice
from levelseq.store import join, open_store, parent

__all__ = ["PlainFiles", "normalize_files"]


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
    columns = columns_read(params, batch, fit)
    check_options(files, params, batch, columns)
    data = read_counts(files.counts, counts=params.values != "given")
    if files.samples:
        data.obs = matched(read_table(files.samples, "column"), data, files.samples)
    if files.genes:
        _add_genes(data, files.genes)
    for option, names in columns.items():
        for name in names:
            check_column(data, name, option, files.samples or files.counts)
    values, fit = _normalized(data, params, batch, fit, files)
    # All are made before any is written, so that an error leaves none.
    written = {files.out: _content(values, files.out)}
    if files.out_samples:
        written[files.out_samples] = _table(values.obs, "sample", files.out_samples)
    if files.save_fit:
        written = _kept(fit, files.save_fit) | written
    for address, content in written.items():
        folder, name = parent(address)
        open_store(folder).put(name, content)
    return files.out


def _kept(fit: ClassicalState, folder: str) -> dict[str, bytes]:
    """The files of a fit by address; another fit there stays as it is."""
    store = open_store(folder)
    kept = fit.files()
    for name, content in kept.items():
        if store.exists(name) and store.get(name) != content:
            raise BadOption(
                f"{folder} holds another fit", where="--save-fit", do="choose another folder"
            )
    return {join(folder, name): content for name, content in kept.items()}


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
            if error.where.endswith("of the genes"):
                address = files.genes or files.counts
            # "data" and "combat" say no more than the address does.
            where = error.where.removeprefix("data, ")
            within = "" if where in ("", "data", params.method) else f", {where}"
            do = error.do or ("change that column" if of_samples else "give raw counts")
            raise BadInput(error.message, where=f"{address}{within}", do=do) from error
    for warning in told:
        notice("normalize", str(warning.message))
    return values, fit


def _content(values: ad.AnnData, address: str) -> bytes:
    """The file to write."""
    if address.endswith(".h5ad"):
        return _h5ad(values)
    beside = [f"the {name}" for name in sorted(set(values.layers) - {"counts"})]
    if beside:
        notice("normalize", f"{' and '.join(beside)} go into an .h5ad only")
    frame = values.to_df().T
    if (frame.to_numpy() == np.round(frame.to_numpy())).all():
        frame = frame.astype(np.int64)
    return _table(frame, values.var_names.name or "gene", address)


def _table(frame: pd.DataFrame, corner: str, address: str) -> bytes:
    separator = "," if ".csv" in Path(address).suffixes[-2:] else "\t"
    content = frame.rename_axis(corner).to_csv(sep=separator).encode()
    return gzip.compress(content, mtime=0) if address.endswith(".gz") else content


def _h5ad(values: ad.AnnData) -> bytes:
    with tempfile.TemporaryDirectory(prefix="levelseq-") as scratch:
        path = Path(scratch) / "values.h5ad"
        try:
            values.write_h5ad(path)
        except (TypeError, ValueError) as error:
            raise BadInput(f"cannot be written as .h5ad: {error}", where="--out") from error
        return path.read_bytes()
