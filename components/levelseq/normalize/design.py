"""Batch and covariates of samples, coded as R's `model.matrix` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.confounding import (
    dependent,
    described,
    groups,
    rank,
    standardized,
    within,
)
from levelseq.normalize.design_levels import matched_levels

__all__ = ["Coding", "Design", "check_covariates", "check_design"]

F64 = NDArray[np.float64]
Coding = dict[str, tuple[str, ...]]
"""For each covariate its levels, the first one without a column; no levels for a number.

Covariates are in the order of their names, which a fit that is saved as JSON keeps.
"""

_WAY_OUT = (
    "use reference_ratio with samples of a reference material in each batch, add samples that tell "
    "it and the batch apart, or leave it out"
)


@dataclass(frozen=True)
class Design:
    """The batch of each sample, and covariates whose effect ComBat keeps.

    Attributes:
        batch: the batch of each sample.
        covariates: column name -> a value for each sample; text is categorical, numbers are not.
        batch_column: what the batch is called in messages.
    """

    batch: Any
    covariates: Mapping[str, Any] = field(default_factory=dict)
    batch_column: str = "batch"

    def checked(self, n_samples: int) -> Design:
        """The design as plain arrays.

        Raises:
            BadInput: a column is not as long as the data, or lacks a value.
        """
        batch = _column(self.batch_column, self.batch, n_samples)
        columns = {k: _column(k, v, n_samples) for k, v in self.covariates.items()}
        return Design([str(b) for b in batch], columns, self.batch_column)

    def coding(self) -> Coding:
        """The levels of each covariate, sorted; a covariate with one value is left out."""
        coding: Coding = {}
        for name, column in sorted(self.covariates.items()):
            if column.dtype.kind in "iuf":
                levels: tuple[str, ...] = ()
                constant = bool((column == column[0]).all())
            else:
                levels = tuple(sorted({str(value) for value in column}))
                constant = len(levels) == 1
            if not constant:
                coding[name] = levels
        return coding

    def matrix(self, coding: Coding) -> F64:
        """(S, K): one column for a number, one for each level but the first of a category.

        Raises:
            BadInput: a covariate of the coding is missing, or has a level unknown to it.
        """
        columns: list[F64] = []
        for name, levels in coding.items():
            if name not in self.covariates:
                raise BadInput("is needed: the state was fitted with it", where=f"column {name!r}")
            if not levels:
                columns.append(self._numbers(name))
                continue
            text = np.array(matched_levels(self.covariates[name], levels, name))
            columns += [(text == level).astype(np.float64) for level in levels[1:]]
        return np.stack(columns, axis=1) if columns else np.empty((len(self.batch), 0))

    def _numbers(self, name: str) -> F64:
        try:
            return np.asarray(self.covariates[name], dtype=np.float64)
        except ValueError as error:
            raise BadInput(
                "is not a number in every sample, as it was in the fit", where=f"column {name!r}"
            ) from error

    def batch_codes(self, batches: Sequence[str]) -> NDArray[np.int64]:
        """(S,): the number of each sample's batch, -1 for one that is not among them."""
        number = {name: i for i, name in enumerate(batches)}
        return np.array([number.get(name, -1) for name in self.batch], dtype=np.int64)


def _column(name: str, values: Any, n_samples: int) -> NDArray[Any]:
    # A list of text with a NaN in it must not become text.
    array = values if isinstance(values, np.ndarray) else np.asarray(pd.Series(values))
    if array.ndim != 1 or len(array) != n_samples:
        raise BadInput(
            f"has shape {array.shape}, not one value for each of {n_samples} samples",
            where=f"column {name!r}",
        )
    missing = int(pd.isna(array).sum())
    if array.dtype.kind == "f":
        missing = int((~np.isfinite(array)).sum())
    if missing:
        raise BadInput(
            f"has no value for {missing} of {n_samples} samples", where=f"column {name!r}"
        )
    return array


def check_design(
    design: Design, reference_batch: str = "", names: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Coding]:
    """Batches and covariates' coding of a checked design that a batch method can be fitted to.

    Args:
        design: of the samples.
        reference_batch: one that must be there, with two samples or more; empty: none.
        names: of the samples; up to three of them are named where few stand in the way. None: no
            sample is named.

    Raises:
        BadInput: one batch, or covariates that cannot be told from it; names levels and batches.
        BadOption: the reference batch is not there, or has one sample.
    """
    batches = tuple(sorted(set(design.batch)))
    where = f"column {design.batch_column!r}"
    if len(batches) < 2:
        only = batches[0] if batches else ""
        raise BadInput(
            f"has one batch, {only!r}, and two are needed to level them",
            where=where,
            do="use tmm or log1p_cpm",
        )
    if reference_batch and reference_batch not in batches:
        raise BadOption(
            f"no batch {reference_batch!r}",
            where="--reference-batch",
            do=f"choose one of {', '.join(batches[:20])}",
        )
    if reference_batch and list(design.batch).count(reference_batch) < 2:
        raise BadOption(
            f"batch {reference_batch!r} has one sample, so no variance",
            where="--reference-batch",
            do="choose a batch with two samples or more",
        )
    coding = design.coding()
    if coding:
        _check_separable(design, coding, names)
    n_columns = len(batches) + sum(max(1, len(levels) - 1) for levels in coding.values())
    if len(design.batch) <= n_columns:
        raise BadInput(
            f"{len(design.batch)} samples in {len(batches)} batches leave nothing to tell noise by",
            where=where,
            do="give a coarser column, or leave covariates out",
        )
    return batches, coding


def _check_separable(design: Design, coding: Coding, names: Sequence[str] | None) -> None:
    """Refuse a design in which batch and covariates cannot be told apart.

    Raises:
        BadInput: covariates are collinear, or confounded with batch; names columns and levels.
    """
    codes = design.batch_codes(sorted(set(design.batch)))
    z_SK = check_covariates(design, coding)
    for name, levels in coding.items():
        z_Sk = standardized(design.matrix({name: levels}))
        if rank(within(z_Sk, codes)) < z_Sk.shape[1]:
            found = groups(_text(design, name), design.batch) if levels else []
            raise BadInput(
                f"is confounded with {design.batch_column}: "
                + (described(found, names) if found else "it is constant in every batch"),
                where=f"column {name!r}",
                do=_WAY_OUT,
            )
    together = dependent(within(z_SK, codes), _owners(coding))
    if together:
        raise BadInput(
            f"are together confounded with {design.batch_column}",
            where=f"columns {', '.join(together)}",
            do="leave one out",
        )


def check_covariates(design: Design, coding: Coding) -> F64:
    """(S, K): the covariates' columns, of mean 0 and variance 1.

    Raises:
        BadInput: they are collinear; names the columns.
    """
    z_SK = standardized(design.matrix(coding))
    same = dependent(z_SK, _owners(coding))
    if same:
        raise BadInput(
            "say the same of every sample", where=f"columns {', '.join(same)}", do="leave one out"
        )
    return z_SK


def _owners(coding: Coding) -> list[str]:
    """The covariate of each column."""
    return [name for name, levels in coding.items() for _ in range(max(1, len(levels) - 1))]


def _text(design: Design, name: str) -> list[str]:
    return [str(value) for value in design.covariates[name]]
