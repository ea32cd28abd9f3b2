"""Small tables of text beside the counts: sheets, metadata, genes."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd

from levelseq.errors import BadDeposit
from levelseq.ingest.readers.csv import split_fields
from levelseq.ingest.readers.text import naming_damage, open_text
from levelseq.store import open_store, parent

__all__ = ["read_table", "table_from_file"]


def read_table(address: str) -> pd.DataFrame:
    """The table at an address, all text; see `table_from_file`."""
    folder, name = parent(address)
    with open_store(folder).local_copy(name) as path:
        return table_from_file(path, address)


def table_from_file(path: Path, where: str, n_rows: int | None = None) -> pd.DataFrame:
    """Comma or tab separated rows as text, gzip or not; all of them, or the first.

    R's `write.csv` gives row names and a header one field short: their column is then named ''.

    Raises:
        BadDeposit: empty, a column named twice, or a row of another length than the header.
    """
    with naming_damage(where), open_text(path) as lines:
        stop = None if n_rows is None else n_rows + 1
        kept = list(itertools.islice((line for line in lines if line.strip()), stop))
    if not kept:
        raise BadDeposit("is empty", where=where, do="give a header and rows")
    delimiter = "\t" if kept[0].count("\t") > kept[0].count(",") else ","
    header, *rows = (split_fields(line, delimiter, where) for line in kept)
    if rows and len(rows[0]) == len(header) + 1:
        header = ["", *header]
    _check(header, rows, where)
    return pd.DataFrame(rows, columns=header, dtype=str)


def _check(header: list[str], rows: list[list[str]], where: str) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BadDeposit(f"column {twice[0]!r} is there twice", where=where, do="rename one")
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise BadDeposit(
                f"row {number + 1} has {len(row)} fields for {len(header)} columns",
                where=where,
                do="write one field a column, empty where there is none",
            )
