"""Batch and covariates of samples, coded as R's `model.matrix` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption

__all__ = ["Coding", "Design", "check_design", "nearly_confounded"]

F64 = NDArray[np.float64]
Coding = dict[str, tuple[str, ...]]
"""For each covariate its levels, the first one without a column; no levels for a number."""

_RANK_TOLERANCE = 1e-7
_NEARLY_CONFOUNDED = 0.75


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
        for name, column in self.covariates.items():
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
            column = self.covariates[name]
            if not levels:
                columns.append(np.asarray(column, dtype=np.float64))
                continue
            text = np.array([str(value) for value in column])
            unknown = sorted({str(value) for value in text} - set(levels))
            if unknown:
                raise BadInput(
                    f"level {unknown[0]!r} was not in the fit, which had {', '.join(levels)}",
                    where=f"column {name!r}",
                )
            columns += [(text == level).astype(np.float64) for level in levels[1:]]
        return np.stack(columns, axis=1) if columns else np.empty((len(self.batch), 0))

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


def check_design(design: Design, reference_batch: str = "") -> tuple[tuple[str, ...], Coding]:
    """Batches and covariates' coding of a checked design that ComBat can be fitted to.

    Raises:
        BadInput: one batch, or covariates that cannot be told from it.
        BadOption: the reference batch is not there, or has one sample.
    """
    batches = tuple(sorted(set(design.batch)))
    where = f"column {design.batch_column!r}"
    if len(batches) < 2:
        only = batches[0] if batches else ""
        raise BadInput(
            f"has one batch, {only!r}, and combat needs two",
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
    _check_separable(design, coding)
    return batches, coding


def _check_separable(design: Design, coding: Coding) -> None:
    """Refuse a design in which batch and covariates cannot be told apart.

    Raises:
        BadInput: covariates are collinear, or confounded with batch; names columns and levels.
    """
    codes = design.batch_codes(sorted(set(design.batch)))
    if not coding:
        return
    z_SK = _standardized(design.matrix(coding))
    names = ", ".join(coding)
    if _rank(z_SK) < z_SK.shape[1]:
        raise BadInput("say the same of every sample", where=f"columns {names}", do="leave one out")
    for name, levels in coding.items():
        z_Sk = _standardized(design.matrix({name: levels}))
        if _rank(_within(z_Sk, codes)) < z_Sk.shape[1]:
            places = _where_levels_are(design, name, levels)
            raise BadInput(
                f"is confounded with {design.batch_column}: {places}",
                where=f"column {name!r}",
                do="leave it out, or add samples that tell it and the batch apart",
            )
    if _rank(_within(z_SK, codes)) < z_SK.shape[1]:
        raise BadInput(
            f"are together confounded with {design.batch_column}",
            where=f"columns {names}",
            do="leave one out",
        )


def nearly_confounded(design: Design, coding: Coding) -> list[str]:
    """Covariates of which three quarters of the variance lie between batches, or more.

    They can be told from batch, but what is kept of them rests on few samples.
    """
    codes = design.batch_codes(sorted(set(design.batch)))
    found = []
    for name, levels in coding.items():
        z_Sk = _standardized(design.matrix({name: levels}))
        within = (_within(z_Sk, codes) ** 2).mean(axis=0)
        if within.min() < 1 - _NEARLY_CONFOUNDED:
            found.append(name)
    return found


def _within(z_SK: F64, codes: NDArray[np.int64]) -> F64:
    """Covariates less their batch's mean."""
    out = z_SK.copy()
    for b in np.unique(codes):
        out[codes == b] -= z_SK[codes == b].mean(axis=0)
    return out


def _standardized(z_SK: F64) -> F64:
    return np.asarray((z_SK - z_SK.mean(axis=0)) / z_SK.std(axis=0))


def _rank(z_SK: F64) -> int:
    """Rank of columns that were standardized before, so that rounding is not taken for rank."""
    return int(np.linalg.matrix_rank(z_SK, tol=_RANK_TOLERANCE * np.sqrt(len(z_SK))))


def _where_levels_are(design: Design, name: str, levels: Sequence[str]) -> str:
    """In which batches each level is; a number is constant within each."""
    if not levels:
        return "it is constant in every batch"
    text = np.array([str(value) for value in design.covariates[name]])
    batch = np.array(design.batch)
    parts = [f"{level!r} is in {_some(sorted(set(batch[text == level])))}" for level in levels[:4]]
    return ", ".join(parts) + (", …" if len(levels) > 4 else "")


def _some(names: Sequence[str]) -> str:
    return " ".join(names[:4]) + (" …" if len(names) > 4 else "")
