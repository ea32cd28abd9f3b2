"""The design of a fit of ComBat-seq, and the order of samples that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.combat_seq_design import Coding, Columns, Samples, code
from levelseq.normalize.design_layout import Layout, layout

__all__ = ["Plan", "plan"]

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Plan:
    """The design of a fit, samples ordered by batch and then by row of the design.

    Attributes:
        coding: what its columns mean.
        order_S: places of the ordered samples among those given.
        rows: the ordered samples as rows.
        batch_start_B1: where each batch starts among them.
        design: the layout of all.
        batch_column: what the batch is called in messages.
    """

    coding: Coding
    order_S: Int
    rows: Samples
    batch_start_B1: Int
    design: Layout
    batch_column: str

    @property
    def n_batches(self) -> int:
        """How many batches there are."""
        return len(self.batch_start_B1) - 1

    def samples(self, b: int) -> tuple[int, int]:
        """First sample of a batch and the one after its last."""
        return int(self.batch_start_B1[b]), int(self.batch_start_B1[b + 1])


def plan(
    n_samples: int, columns: Columns, samples: Sequence[str] | None = None, *, full_model: bool
) -> Plan:
    """The design of batch, group and covariates.

    Raises:
        BadInput: as `combat_seq_design.code`.
    """
    columns = columns if full_model else columns._replace(group=None)
    coding, rows = code(n_samples, columns, samples)
    n_batches = len(coding.batches)
    by_batch = np.argsort(rows.batch_S, kind="stable")
    by_row = layout(rows.taken(by_batch).design(n_batches)).order_S
    order = by_batch[by_row]
    rows = rows.taken(order)
    sizes = np.bincount(rows.batch_S, minlength=n_batches)
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    whole = layout(rows.design(n_batches))
    return Plan(coding, order, rows, start, whole, columns.batch_column)
