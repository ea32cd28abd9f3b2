"""Batches, groups and covariates of ComBat-seq as a design, checked before anything is fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.design import Design, check_design
from levelseq.normalize.design_levels import level_name

__all__ = ["Coding", "Columns", "Samples", "code", "coded", "independent"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_RANK_TOLERANCE = 1e-7


class Columns(NamedTuple):
    """What is told of samples, and what it is called in messages.

    Attributes:
        batch: one name a sample.
        group: one label a sample, whose differences are kept; None: no groups.
        covariates: numbers (S, K) that are kept too, without an intercept; None: none.
        batch_column, group_column: their names.
        covariate_columns: one name for each covariate; none: they go by number.
    """

    batch: Any
    group: Any = None
    covariates: Any = None
    batch_column: str = "batch"
    group_column: str = "group"
    covariate_columns: Sequence[str] = ()

    def of(self, rows: slice) -> Columns:
        """Of some samples in a row."""
        group = None if self.group is None else self.group[rows]
        covariates = None if self.covariates is None else self.covariates[rows]
        return self._replace(batch=self.batch[rows], group=group, covariates=covariates)

    def numbers(self) -> F64:
        """(S, K): the covariates; no columns where there are none."""
        if self.covariates is None:
            return np.empty((0, 0))
        z_SK = np.asarray(self.covariates, dtype=np.float64)
        return z_SK[:, None] if z_SK.ndim == 1 else z_SK

    def design(self, n_samples: int, *, grouped: bool) -> Design:
        """Batch, covariates and, if asked for, group, checked.

        Raises:
            BadInput: a column is not as long as the data, or lacks a value.
        """
        names = self.covariate_columns or [
            f"covariate {k + 1}" for k in range(self.numbers().shape[1])
        ]
        kept: dict[str, Any] = dict(zip(names, self.numbers().T))
        if grouped:
            kept[self.group_column] = self.group
        return Design(self.batch, kept, self.batch_column).checked(n_samples)


@dataclass(frozen=True)
class Coding:
    """What the columns of a design mean.

    Attributes:
        batches: names, in the order of the first columns.
        groups: levels whose difference is kept, the first without a column; empty: none.
        n_covariates: further columns.
    """

    batches: tuple[str, ...]
    groups: tuple[str, ...]
    n_covariates: int


@dataclass(frozen=True)
class Samples:
    """Samples as rows of a design.

    Attributes:
        batch_S: number of each sample's batch.
        kept_SM: intercept, groups and covariates: the design without batches.
    """

    batch_S: Int
    kept_SM: F64

    def design(self, n_batches: int) -> F64:
        """(S, K): a column for each batch, then what is kept."""
        batches = (self.batch_S[:, None] == np.arange(n_batches)).astype(np.float64)
        return np.hstack([batches, self.kept_SM[:, 1:]])

    def taken(self, order: Int) -> Samples:
        """Some samples, in an order."""
        return Samples(self.batch_S[order], self.kept_SM[order])


def code(
    n_samples: int, columns: Columns, samples: Sequence[str] | None = None
) -> tuple[Coding, Samples]:
    """Levels of batch and group, and the samples coded by them.

    Args:
        n_samples: how many the counts have.
        columns: what is told of them.
        samples: names for messages.

    Raises:
        BadInput: one batch, a batch of one sample, a missing value, or what is kept cannot be
            told from the batches.
    """
    grouped = columns.group is not None
    design = columns.design(n_samples, grouped=grouped)
    groups: tuple[str, ...] = ()
    if grouped:
        # Numbers that name groups are levels, in the order of numbers, as in R.
        groups = _ordered(design.covariates[columns.group_column])
        named = [level_name(value) for value in design.covariates[columns.group_column]]
        columns = columns._replace(group=np.array(named, dtype=object))
        design = columns.design(n_samples, grouped=True)
    coding = design.coding()
    constant = [n for n in design.covariates if n not in coding and n != columns.group_column]
    if constant:
        raise BadInput(
            "is the same for every sample",
            where=f"column {constant[0]!r}",
            do="leave it out",
        )
    check_design(design, names=samples)
    batches = _ordered(columns.batch)
    _check_sizes(batches, design, samples)
    found = Coding(batches, groups if len(groups) > 1 else (), columns.numbers().shape[1])
    rows = coded(found, n_samples, columns)
    if not independent(rows.design(len(batches))):
        raise BadInput(
            "cannot be told from the batches, or from each other",
            where=f"columns {', '.join(coding)}",
            do="leave one out",
        )
    return found, rows


def coded(coding: Coding, n_samples: int, columns: Columns) -> Samples:
    """Samples by a coding that is there already.

    Raises:
        BadInput: a batch, group or number of covariates that the coding does not have, or a
            missing value.
    """
    z_SK = columns.numbers()
    if z_SK.shape[1] != coding.n_covariates:
        raise BadInput(
            f"there are {z_SK.shape[1]}, the fit had {coding.n_covariates}", where="covariates"
        )
    if coding.groups and columns.group is None:
        raise BadInput(
            "is needed: the state was fitted with it", where=f"column {columns.group_column!r}"
        )
    design = columns.design(n_samples, grouped=bool(coding.groups))
    batch_S = _numbers_of(design.batch, coding.batches, columns.batch_column)
    parts = [np.ones((n_samples, 1))]
    if coding.groups:
        names = [level_name(v) for v in design.covariates[columns.group_column]]
        group_S = _numbers_of(names, coding.groups, columns.group_column)
        parts.append((group_S[:, None] == np.arange(1, len(coding.groups))).astype(np.float64))
    if z_SK.size:
        parts.append(z_SK)
    return Samples(batch_S, np.hstack(parts))


def independent(x_SK: F64) -> bool:
    """Whether columns are of full rank, by the rule of R's `qr`."""
    basis = np.empty((len(x_SK), 0))
    for column in x_SK.T:
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)
        size = np.linalg.norm(column)
        left = np.linalg.norm(rest)
        if size == 0 or left < _RANK_TOLERANCE * size:
            return False
        basis = np.column_stack([basis, rest / left])
    return True


def _ordered(values: Any) -> tuple[str, ...]:
    """Distinct names, numbers in the order of numbers, as in R."""
    return tuple(level_name(v) for v in sorted(set(np.asarray(values).tolist())))


def _numbers_of(names: Sequence[str], known: Sequence[str], column: str) -> Int:
    number = {name: i for i, name in enumerate(known)}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise BadInput(
            f"{unknown[0]!r} was not in the fit, which had {', '.join(known)}",
            where=f"column {column!r}",
            do="leave those samples out, fit anew, or use combat, which takes new batches",
        )
    return np.array([number[name] for name in names], dtype=np.int64)


def _check_sizes(batches: Sequence[str], design: Design, samples: Sequence[str] | None) -> None:
    names = list(design.batch)
    count = Counter(names)
    single = [b for b in batches if count[b] < 2]
    if single:
        rows = [names.index(b) for b in single[:5]]
        alone = ", ".join(f"row {i}" if samples is None else str(samples[i]) for i in rows)
        raise BadInput(
            f"batch {', '.join(single[:5])} has one sample ({alone}), so no dispersion",
            where=f"column {design.batch_column!r}",
            do="leave it out, join it to another batch, or use combat",
        )
