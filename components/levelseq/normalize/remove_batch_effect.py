"""Batch effects removed by a linear model: limma's `removeBatchEffect`.

Passes over the data: one to fit, one to apply. The design is known before the data, so only its
orthogonal columns' products with the values are accumulated. Memory: columns x genes, and a block
of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunk, Chunks, Matrix, as_dense, checked, dense_rows
from levelseq.normalize.linear_model import (
    Products,
    checked_design,
    orthogonal,
    weighted_coefficients,
)
from levelseq.normalize.row_blocks import filled
from levelseq.normalize.unwanted import Factor, check_removable, covariates, factor, sum_coding

__all__ = ["State", "apply", "fit", "fit_streamed"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """What is taken from the values.

    Attributes:
        batch_column, batch2_column: what the batches are called in messages.
        batches, batches2: names, in the order of the rows of the arrays; empty: none removed.
        shift_BG, shift2_BG: what is taken from the values of each batch.
        coefficient_KG: what is taken for one unit of each covariate.
        not_estimable: what R leaves at zero, since it follows from what stands before it.
    """

    batch_column: str
    batch2_column: str
    batches: tuple[str, ...]
    batches2: tuple[str, ...]
    shift_BG: F64
    shift2_BG: F64
    coefficient_KG: F64
    not_estimable: tuple[str, ...]

    def notices(self) -> list[str]:
        """What a user should know of the fit, a line each."""
        if not self.not_estimable:
            return []
        names = ", ".join(self.not_estimable)
        return [f"{names}: no effect of its own, since it follows from what stands before it"]


@dataclass(frozen=True)
class _Model:
    """The design before the columns of what is removed."""

    x_SK: F64
    n_kept: int
    factors: tuple[Factor, ...]
    has_batch: bool
    names: tuple[str, ...]

    def state(self, coefficient_KG: F64, dropped: Sequence[int]) -> State:
        """From the coefficients of all columns."""
        rest = coefficient_KG[self.n_kept :]
        empty = np.empty((0, coefficient_KG.shape[1]))
        parts: list[tuple[str, tuple[str, ...], F64]] = []
        for part in self.factors:
            n = len(part.levels)
            parts.append((part.column, part.levels, sum_coding(n) @ rest[: n - 1]))
            rest = rest[n - 1 :]
        if not self.has_batch:
            parts.insert(0, ("batch", (), empty))
        (column, levels, shift), (column2, levels2, shift2) = [*parts, ("batch2", (), empty)][:2]
        left = tuple(self.names[k - self.n_kept] for k in dropped if k >= self.n_kept)
        return State(column, column2, levels, levels2, shift, shift2, rest, left)


def fit(
    x_SG: Matrix,
    batch: Any = None,
    *,
    batch2: Any = None,
    covariates_SK: Any = None,
    design_SK: Any = None,
    weight: Any = None,
    allow_confounded: bool = False,
    samples: Sequence[str] | None = None,
) -> State:
    """Estimate what to remove.

    Args:
        x_SG: log values, samples x genes; NaN is missing: such a gene is fitted on the others.
        batch: the batch of each sample; a Series is called by its name in messages.
        batch2: a second one, whose effects add to the first's; may nest in it.
        covariates_SK: numbers whose slopes are removed; not centred (limma 3.54).
        design_SK: what is kept, as a design matrix with its intercept; None: the mean. A
            DataFrame's columns are named in messages.
        weight: of each sample (S,) or value (S, G), as voom's; what has none is left out.
        allow_confounded: give limma's answer where a batch cannot be told from the design: the
            columns that R drops stay in the values, and `notices` names them.
        samples: names for messages.

    Raises:
        BadInput: nothing to remove, one batch only, columns that do not match the samples,
            infinite values, or a batch that cannot be told from the design; names it.

    Follows `limma::removeBatchEffect` of limma 3.54 (Ritchie et al. 2015).
    """
    x_SG = _values(x_SG, samples)
    n_samples = len(x_SG)
    if weight is None and not np.isnan(x_SG).any():
        names = samples if samples is not None else [f"row {i}" for i in range(n_samples)]
        return fit_streamed(
            lambda: iter([Chunk(x_SG, names)]),
            n_samples,
            batch,
            batch2=batch2,
            covariates_SK=covariates_SK,
            design_SK=design_SK,
            allow_confounded=allow_confounded,
        )
    model = _model(n_samples, batch, batch2, covariates_SK, design_SK, allow_confounded)
    coefficient_KG = weighted_coefficients(x_SG, model.x_SK, weight)
    return model.state(coefficient_KG, orthogonal(model.x_SK).dropped)


def fit_streamed(
    chunks: Chunks,
    n_samples: int,
    batch: Any = None,
    *,
    batch2: Any = None,
    covariates_SK: Any = None,
    design_SK: Any = None,
    allow_confounded: bool = False,
) -> State:
    """As `fit`, in one pass over chunks; the columns are of all samples in order.

    Raises:
        BadInput: as `fit`; also values that are missing, which take a gene's whole row.
    """
    model = _model(n_samples, batch, batch2, covariates_SK, design_SK, allow_confounded)
    split = orthogonal(model.x_SK)
    products, seen = Products(len(split.columns)), 0
    for chunk in chunks():
        x_SG = checked(chunk.x_SG, chunk.samples, counts=False)
        place = slice(seen, seen + x_SG.shape[0])
        seen = place.stop
        if seen > n_samples:
            break
        q_sR = split.q_SR[place]
        for rows, x_sG in dense_rows(x_SG):
            products.add(q_sR[rows], x_sG)
    if seen != n_samples:
        raise BadInput(f"batches are of {n_samples} samples, the values of others", where="data")
    return model.state(split.coefficients(products.value_RG), split.dropped)


def apply(
    x_SG: Matrix,
    batch: Any,
    state: State,
    *,
    batch2: Any = None,
    covariates_SK: Any = None,
    samples: Sequence[str] | None = None,
) -> F64:
    """Values (S, G) less what the fit found; NaN stays NaN.

    On the samples of the fit this is limma's answer. Row-wise: a new sample of a known batch is
    moved by the frozen shift; the design that was kept is not needed.

    Raises:
        BadInput: infinite values, other genes than in the fit, a batch or covariate that is
            missing, or a batch that the fit did not have.
    """
    x_SG = _values(x_SG, samples)
    n_samples, n_genes = x_SG.shape
    if n_genes != state.coefficient_KG.shape[1]:
        raise BadInput(
            f"has {n_genes} genes, the fit had {state.coefficient_KG.shape[1]}", where="data"
        )
    parts = []
    for given, column, levels, shift_BG in (
        (batch, state.batch_column, state.batches, state.shift_BG),
        (batch2, state.batch2_column, state.batches2, state.shift2_BG),
    ):
        if not levels:
            continue
        if given is None:
            raise BadInput("is needed: the state was fitted with it", where=f"column {column!r}")
        parts.append((shift_BG, factor(given, n_samples, column, levels).code_S))
    n_covariates = len(state.coefficient_KG)
    if n_covariates and covariates_SK is None:
        raise BadInput("are needed: the state was fitted with them", where="covariates")
    z_SK = covariates(covariates_SK, n_samples, n_covariates) if n_covariates else None

    def less(x_sG: F64, rows: slice) -> F64:
        out = np.zeros_like(x_sG) if z_SK is None else z_SK[rows] @ state.coefficient_KG
        for shift_BG, code_S in parts:
            out += shift_BG[code_S[rows]]
        return np.asarray(np.subtract(x_sG, out, out=out))

    return filled(x_SG, less)


def _model(
    n_samples: int,
    batch: Any,
    batch2: Any,
    covariates_SK: Any,
    design_SK: Any,
    allow_confounded: bool,
) -> _Model:
    """The columns of the model, in limma's order."""
    if batch is None and batch2 is None and covariates_SK is None:
        raise BadInput("no batch and no covariate is given to remove", where="batch")
    kept_SK = checked_design(design_SK, n_samples)
    factors = [
        factor(given, n_samples, usual)
        for given, usual in ((batch, "batch"), (batch2, "batch2"))
        if given is not None
    ]
    z_SK = np.empty((n_samples, 0))
    if covariates_SK is not None:
        z_SK = covariates(covariates_SK, n_samples)
    if not allow_confounded:
        columns = [str(c) for c in design_SK.columns] if isinstance(design_SK, pd.DataFrame) else []
        check_removable(kept_SK, factors, z_SK, columns)
    names = [f"{part.column} {level!r}" for part in factors for level in part.levels[:-1]]
    names += [f"covariate {k + 1}" for k in range(z_SK.shape[1])]
    x_SK = np.concatenate([kept_SK, *(part.coded() for part in factors), z_SK], axis=1)
    return _Model(x_SK, kept_SK.shape[1], tuple(factors), batch is not None, tuple(names))


def _values(matrix: Matrix, samples: Sequence[str] | None) -> F64:
    """Dense values, of which NaN are missing."""
    x_SG: F64 = as_dense(matrix)
    missing = np.isnan(x_SG)
    checked(np.where(missing, 0.0, x_SG) if missing.any() else x_SG, samples, counts=False)
    return x_SG
