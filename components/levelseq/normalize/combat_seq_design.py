"""Batches, groups and covariates of ComBat-seq as a design, checked before anything is fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.design import Design, check_design

__all__ = ["Coding", "Samples", "code", "coded", "independent"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_RANK_TOLERANCE = 1e-7


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


def code(n_samples: int, batch: Any, group: Any, covariates: Any) -> tuple[Coding, Samples]:
    """Levels of batch and group, and the samples coded by them.

    Args:
        n_samples: how many the counts have.
        batch: one name a sample.
        group: one label a sample, whose differences are kept; None: no groups.
        covariates: numbers (S, K) that are kept too, without an intercept; None: none.

    Raises:
        BadInput: one batch, a batch of one sample, a missing value, or what is kept cannot be
            told from the batches.
    """
    z_SK = _numbers(covariates)
    columns: dict[str, Any] = {f"covariate {k + 1}": column for k, column in enumerate(z_SK.T)}
    if group is not None:
        columns["group"] = group
    design = Design(batch, columns).checked(n_samples)
    groups: tuple[str, ...] = ()
    if group is not None:
        # Numbers that name groups are levels, in the order of numbers, as in R.
        groups = _ordered(design.covariates["group"])
        columns["group"] = [str(value) for value in design.covariates["group"]]
        design = Design(batch, columns).checked(n_samples)
    constant = [name for name, column in columns.items() if len(set(column)) == 1]
    if constant and constant != ["group"]:
        raise BadInput(
            "is the same for every sample",
            where=f"column {constant[0]!r}",
            do="leave it out",
        )
    check_design(design)
    batches = _ordered(batch)
    _check_sizes(batches, design.batch)
    coding = Coding(batches, groups if len(groups) > 1 else (), z_SK.shape[1])
    samples = coded(coding, n_samples, batch, group, covariates)
    if not independent(samples.design(len(batches))):
        raise BadInput(
            "cannot be told from the batches, or from each other",
            where="group and covariates",
            do="leave one out",
        )
    return coding, samples


def coded(coding: Coding, n_samples: int, batch: Any, group: Any, covariates: Any) -> Samples:
    """Samples by a coding that is there already.

    Raises:
        BadInput: a batch, group or number of covariates that the coding does not have, or a
            missing value.
    """
    z_SK = _numbers(covariates)
    if z_SK.shape[1] != coding.n_covariates:
        raise BadInput(
            f"there are {z_SK.shape[1]}, the fit had {coding.n_covariates}", where="covariates"
        )
    columns = {f"covariate {k + 1}": column for k, column in enumerate(z_SK.T)}
    if coding.groups and group is None:
        raise BadInput("is needed: the state was fitted with it", where="column 'group'")
    if coding.groups:
        columns["group"] = group
    design = Design(batch, columns).checked(n_samples)
    batch_S = _numbers_of(design.batch, coding.batches, "batch")
    parts = [np.ones((n_samples, 1))]
    if coding.groups:
        names = [str(v) for v in design.covariates["group"]]
        group_S = _numbers_of(names, coding.groups, "group")
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


def _numbers(covariates: Any) -> F64:
    if covariates is None:
        return np.empty((0, 0))
    z_SK = np.asarray(covariates, dtype=np.float64)
    return z_SK[:, None] if z_SK.ndim == 1 else z_SK


def _ordered(values: Any) -> tuple[str, ...]:
    """Distinct names, numbers in the order of numbers, as in R."""
    return tuple(str(v) for v in sorted(set(np.asarray(values).tolist())))


def _numbers_of(names: Sequence[str], known: Sequence[str], column: str) -> Int:
    number = {name: i for i, name in enumerate(known)}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise BadInput(
            f"{unknown[0]!r} was not in the fit, which had {', '.join(known)}",
            where=f"column {column!r}",
        )
    return np.array([number[name] for name in names], dtype=np.int64)


def _check_sizes(batches: Sequence[str], names: Sequence[str]) -> None:
    count = Counter(names)
    single = [b for b in batches if count[b] < 2]
    if single:
        rows = ", ".join(str(list(names).index(b)) for b in single[:5])
        raise BadInput(
            f"batch {', '.join(single[:5])} has one sample (row {rows}), so no dispersion",
            where="column 'batch'",
            do="leave it out, join it to another batch, or use combat",
        )
