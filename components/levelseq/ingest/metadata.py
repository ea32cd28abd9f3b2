"""What is known about every observation: sheet, metadata table and the deposit's own columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from levelseq import progress
from levelseq.errors import BadDeposit
from levelseq.ingest.params import IngestParams
from levelseq.ingest.qc import QC_COLUMNS
from levelseq.ingest.tables import table_from_file

__all__ = [
    "MISSING",
    "about_observations",
    "keep_mask",
    "metadata_columns",
    "metadata_of_cells",
    "refuse_absent_columns",
    "without_missing",
]

MISSING = frozenset({"", "NA", "NaN", "nan"})

_BARCODES = ("barcode", "cell", "barcodes", "cell_id", "cell_barcode")


def metadata_columns(path: Path, where: str) -> list[str]:
    """The columns that `metadata_of_cells` will give; the rest of the table is not read."""
    columns = list(table_from_file(path, where, n_rows=1).columns)
    return [name for name in columns if name != _barcode_column(columns)]


def _barcode_column(columns: list[str]) -> str:
    named = [name for name in _BARCODES if name in columns]
    return "" if "" in columns else (named or columns)[0]


def metadata_of_cells(path: Path, barcodes: list[str], where: str) -> pd.DataFrame:
    """The rows of a metadata table in the order of a deposit's barcodes; rows of others go.

    Barcodes are R's row names, or the column `barcode` or `cell`, else the first.

    Raises:
        BadDeposit: a barcode twice, or cells without a row.
    """
    table = table_from_file(path, where)
    column = _barcode_column(list(table.columns))
    table = table.set_index(column)
    if not table.index.is_unique:
        row = int(np.argmax(table.index.duplicated())) + 1
        raise BadDeposit(
            f"row {row} has the barcode of a row before it", where=where, do="keep one row a cell"
        )
    rows = table.index.get_indexer(pd.Index(barcodes))
    lacking = np.flatnonzero(rows < 0)
    if len(lacking):
        column_name = repr(column) if column else "the row names"
        raise BadDeposit(
            f"lacks {len(lacking)} of {len(barcodes)} cells, the first is cell {lacking[0] + 1} of "
            f"the counts (barcodes were looked for in {column_name})",
            where=where,
            do="give every cell a row, with its barcode written as in the counts",
        )
    return table.iloc[rows].reset_index(drop=True)


def about_observations(
    params: IngestParams, study: dict[str, str], known: pd.DataFrame, where: str
) -> pd.DataFrame:
    """The columns that the params name and the study columns, (observations, columns), as text.

    A sheet's value goes before that of the observations' own columns.

    Args:
        params: the batch tree, roles and rules.
        study: study column -> value of this deposit.
        known: the observations' own columns, all text.
        where: the deposit's address, for errors.

    Raises:
        BadDeposit: a column is nowhere, or has the name of one that ingest computes.
    """
    refuse_absent_columns(params, study, list(known.columns), where)
    for name in _wanted(params):
        if name in study and name in known and (known[name] != study[name]).any():
            progress.notice(
                "ingest",
                f"column {name!r} of the sheet goes before that of the observations, which differs",
                deposit=where,
            )
    values: dict[str, object] = {name: study.get(name, known.get(name)) for name in _wanted(params)}
    return pd.DataFrame(values | study, index=known.index, dtype=object).astype(str)


def _wanted(params: IngestParams) -> dict[str, str]:
    """Column -> the option that names it."""
    wanted = {level: "--batch" for level in params.levels}
    wanted |= {rule.column: "--keep" for rule in params.keep_rules}
    return wanted | {column: f"--{role}" for role, column in params.roles.items() if column}


def refuse_absent_columns(
    params: IngestParams, study: dict[str, str], known: list[str], where: str
) -> None:
    """Refuse params that name a column that is nowhere.

    Args:
        params: the batch tree, roles and rules.
        study: study column -> value of this deposit.
        known: names of the observations' own columns.
        where: the deposit's address, for errors.

    Raises:
        BadDeposit: a column is nowhere, or has the name of one that ingest computes.
    """
    for column, option in _wanted(params).items():
        if column in QC_COLUMNS:
            raise BadDeposit(
                f"column {column!r} of {option} is one that ingest computes",
                where=where,
                do="rename the column",
            )
        if column not in study and column not in known:
            there = [*study, *(name for name in known if name not in study)]
            raise BadDeposit(
                f"no column {column!r}, which {option} names",
                where=where,
                do=f"columns there are: {', '.join(there)}",
            )


def keep_mask(params: IngestParams, obs: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(observations,): whether each meets all rules of `--keep`; values are compared as text."""
    mask = np.ones(len(obs), dtype=bool)
    for rule in params.keep_rules:
        mask &= (obs[rule.column] == rule.value).to_numpy() == rule.equal
    return mask


def without_missing(params: IngestParams, obs: pd.DataFrame, where: str) -> pd.DataFrame:
    """The same, missing values of roles named `unknown`.

    Raises:
        BadDeposit: a missing value in a batch level or the condition.
    """
    required = {*params.levels, params.condition}
    obs = obs.copy()
    for column in dict.fromkeys([*params.levels, *filter(None, params.roles.values())]):
        missing = obs[column].isin(MISSING)
        if not missing.any():
            continue
        if column in required:
            raise BadDeposit(
                f"column {column!r} has no value for {int(missing.sum())} of {len(obs)} cells",
                where=where,
                do="fill it in, or leave these cells out with --keep",
            )
        progress.notice(
            "ingest", "missing values named 'unknown'", column=column, cells=int(missing.sum())
        )
        obs.loc[missing, column] = "unknown"
    return obs
