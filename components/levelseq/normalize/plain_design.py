"""The design report of a sample table alone, before there are counts or while choosing a method."""

from __future__ import annotations

from collections.abc import Sequence

from levelseq.cohort.batch_tree import parse_levels
from levelseq.normalize.columns import Batches, design_of
from levelseq.normalize.design_report import DesignReport, design_report
from levelseq.normalize.plain_tables import read_h5ad, read_table

__all__ = ["table_report"]


def table_report(samples: str, batch: str, kept: Sequence[str] = ()) -> DesignReport:
    """What a sample table lets batch methods estimate, what not, and what to do instead.

    Args:
        samples: address of the table, one row a sample, its first column their names; or of an
            .h5ad.
        batch: the column of batches; nested ones as 'site>lab'.
        kept: columns that a method would keep: the condition, covariates.

    Raises:
        BadAddress: there is no file.
        BadDeposit: it is not a table.
        BadInput: a column lacks values.
        BadOption: no such column.
    """
    table = read_h5ad(samples).obs if samples.endswith(".h5ad") else read_table(samples, "column")
    batches = Batches.of(table, parse_levels(batch))
    return design_report(design_of(table, batches, kept), list(table.index))
