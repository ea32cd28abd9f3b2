"""Genes x cells as delimited text, as R and pandas write it."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from levelseq.errors import BadDeposit
from levelseq.ingest.readers.buckets import CellBuckets
from levelseq.ingest.readers.reading import Files, Format, Reading, first_bad, refuse_count
from levelseq.ingest.readers.text import naming_damage, open_text

__all__ = ["FORMAT", "split_fields"]

Values = np.ndarray[Any, np.dtype[np.float64]]


def split_fields(line: str, delimiter: str, where: str) -> list[str]:
    """The fields of a line, quotes and outer spaces gone; BadDeposit if a quote does not end."""
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error as error:
        raise BadDeposit(
            f"a line cannot be split into fields: {error}",
            where=where,
            do="check its quotes, and save it as UTF-8 CSV with line feeds",
        ) from error


@dataclass(frozen=True)
class _Table:
    """The head of a table: R's `write.csv` may leave the corner out or empty."""

    where: str
    delimiter: str
    barcodes: list[str]

    def row(self, line: str) -> tuple[str, Values]:
        """A gene and its counts, (cells,)."""
        name, _, rest = line.partition(self.delimiter)
        if name.startswith('"') and not name.endswith('"'):
            return self._quoted_row(line)
        try:
            values = np.fromstring(rest, dtype=np.float64, sep=self.delimiter)
        except ValueError:
            return self._quoted_row(line)
        # A trailing or doubled delimiter parses, with one value too few.
        if len(values) != len(self.barcodes) or rest.count(self.delimiter) + 1 != len(values):
            return self._quoted_row(line)
        gene = name.strip().strip('"')
        self._check(gene, values)
        return gene, values

    def _quoted_row(self, line: str) -> tuple[str, Values]:
        """The slow way: quoted values, or a row with something wrong in it."""
        gene, *fields = split_fields(line, self.delimiter, self.where)
        if len(fields) != len(self.barcodes):
            raise BadDeposit(
                f"gene {gene!r} has {len(fields)} values for {len(self.barcodes)} cells",
                where=self.where,
                do="write one value a cell",
            )
        values = np.array([self._number(gene, i, text) for i, text in enumerate(fields)])
        self._check(gene, values)
        return gene, values

    def _number(self, gene: str, i: int, text: str) -> float:
        try:
            return float(text) if text not in ("", "NA") else np.nan
        except ValueError:
            raise BadDeposit(
                f"{text!r} is not a number, at gene {gene!r}, cell {i + 1}",
                where=self.where,
                do="counts are genes in rows and cells in columns; a sheet has a column 'address'",
            ) from None

    def _check(self, gene: str, values: Values) -> None:
        bad = first_bad(values)
        if bad is not None:
            place = f"gene {gene!r}, cell {bad + 1}"
            raise refuse_count(float(values[bad]), place, self.where)


def _head(lines: Iterator[str], where: str) -> tuple[_Table, Iterator[str]]:
    """The table's head, and its rows."""
    rows = (line for line in lines if line.strip())
    header, first = next(rows, None), next(rows, None)
    if header is None or first is None:
        raise BadDeposit("is empty", where=where, do="give a header and one row a gene")
    delimiter = "\t" if first.count("\t") > first.count(",") else ","
    names = split_fields(header, delimiter, where)
    n_fields = len(split_fields(first, delimiter, where))
    if len(names) == n_fields:
        names = names[1:]
    elif len(names) != n_fields - 1:
        raise BadDeposit(
            f"the header has {len(names)} names, the first row {n_fields} fields",
            where=where,
            do="write one name a cell, with or without a corner",
        )
    if not names:
        raise BadDeposit("has no cells", where=where, do="separate fields by comma or tab")
    _refuse_text(split_fields(first, delimiter, where)[1:], where)
    return _Table(where, delimiter, names), itertools.chain([first], rows)


def _refuse_text(fields: list[str], where: str) -> None:
    """Refuse a table about something else; what it says may be of a person, and is not repeated."""
    for number, text in enumerate(fields):
        try:
            float("nan" if text in ("", "NA") else text)
        except ValueError:
            raise BadDeposit(
                f"holds no counts: field {number + 2} of the first row is text",
                where=where,
                do="counts are genes in rows and cells in columns; a sheet has a column 'address'",
            ) from None


def _count(files: Files, where: str) -> int:
    with naming_damage(where), open_text(files["file"]) as lines:
        table, rows = _head(lines, where)
        table.row(next(rows))
        return len(table.barcodes)


def _read(files: Files, where: str, scratch: Path) -> Reading:
    genes: list[str] = []
    with naming_damage(where), open_text(files["file"]) as lines:
        table, rows = _head(lines, where)
        buckets = CellBuckets(scratch, len(table.barcodes))
        for number, line in enumerate(rows):
            gene, values = table.row(line)
            genes.append(gene)
            cells = np.flatnonzero(values)
            buckets.add(cells, number, values[cells])
    obs = pd.DataFrame(index=pd.RangeIndex(len(table.barcodes)))
    return Reading(table.barcodes, genes, obs, buckets.blocks(genes, where))


FORMAT = Format(_count, _read)
