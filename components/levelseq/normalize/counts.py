"""`levelseq.normalize_counts`: counts in memory, the same kind of object out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import combat, log1p_cpm, size_factors
from levelseq.normalize.chunks import Matrix, checked, in_memory, is_sparse
from levelseq.normalize.design import Design, nearly_confounded

__all__ = ["METHODS", "normalize_counts"]

F64 = NDArray[np.float64]
Data = TypeVar("Data")
METHODS = (*size_factors.METHODS, "combat")


def normalize_counts(
    data: Data,
    method: str = "combat",
    batch: Any = "batch",
    condition: Any = None,
    *,
    reference_batch: str = "",
    mean_only: bool = False,
) -> Data:
    """Comparable values of counts: log1p CPM, by combat also levelled across batches.

    Args:
        data: counts, samples x genes: AnnData, DataFrame, array or scipy sparse matrix.
        method: median_of_ratios, tmm, log1p_cpm or combat. The first three differ in their size
            factors; CPM is 1e6 count / (size factor x geometric mean library). Combat levels
            log1p CPM by library size.
        batch: by combat, a column of `obs` (AnnData) or one value for each sample; a Series is
            matched by sample name where it has the samples' names.
        condition: as batch: what combat keeps. Text is categorical, numbers are not.
        reference_batch: by combat, the batch that stays; empty: the mean over all.
        mean_only: by combat, level means and leave variances.

    Returns:
        The same kind as `data`, float64. AnnData: a copy with the values in X, the counts in
        `layers["counts"]` and `obs["size_factor"]`. A sparse matrix stays one except by combat.

    Raises:
        BadInput: not counts, or the method is not defined for them; names the sample or column.
        BadOption: an unknown method, column or reference batch.
    """
    if method not in METHODS:
        raise BadOption(f"{method!r} is not a method", do=f"use one of {', '.join(METHODS)}")
    x_SG, samples = _counts(data)
    fit = size_factors.fit("log1p_cpm" if method == "combat" else method, in_memory(x_SG, samples))
    if (fit.library_S == 0).any():
        empty = int((fit.library_S == 0).sum())
        warnings.warn(f"{empty} samples have no counts and get size factor 1", stacklevel=2)
    values = log1p_cpm.values(x_SG, fit.size_factor_S, fit.state.reference_library)
    if method == "combat":
        values = _levelled(
            values, _design(data, batch, condition, x_SG.shape[0]), reference_batch, mean_only
        )
    out: Data = _same_kind(data, values, fit.size_factor_S)
    return out


def _levelled(x_SG: Matrix, design: Design, reference_batch: str, mean_only: bool) -> F64:
    state = combat.fit(x_SG, design, reference_batch=reference_batch, mean_only=mean_only)
    lines = state.notices() if not mean_only else []
    lines += [
        f"{column} differs mostly between batches: little can be kept of it"
        for column in nearly_confounded(design, state.coding)
    ]
    for line in lines:
        warnings.warn(f"combat: {line}", stacklevel=4)
    return combat.apply(x_SG, design, state)


def _counts(data: Any) -> tuple[Matrix, Sequence[str] | None]:
    """The matrix, checked to be counts, and the samples' names where there are any."""
    samples: Sequence[str] | None = None
    matrix = data
    if isinstance(data, ad.AnnData):
        matrix, samples = data.X, [str(name) for name in data.obs_names]
        if matrix is None:
            raise BadInput("AnnData has no X", where="data")
    elif isinstance(data, pd.DataFrame):
        samples = [str(name) for name in data.index]
        text = [
            str(c) for c, kind in data.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)
        ]
        if text:
            raise BadInput("does not hold counts", where=f"column {text[0]!r}", do="drop it")
        matrix = data.to_numpy()
    matrix = checked(matrix, samples)
    values = matrix.data if is_sparse(matrix) else matrix
    if matrix.dtype.kind == "f" and (values != np.round(values)).any():
        raise BadInput(
            "values are not whole numbers, so not counts",
            where="data",
            do="give raw counts; round estimated ones",
        )
    return matrix, samples


def _design(data: Any, batch: Any, condition: Any, n_samples: int) -> Design:
    batch_column = batch if isinstance(batch, str) else str(getattr(batch, "name", None) or "batch")
    covariates = {}
    if condition is not None:
        name = condition if isinstance(condition, str) else getattr(condition, "name", None)
        covariates[str(name or "condition")] = _column(data, condition, "condition")
    return Design(_column(data, batch, "batch"), covariates, batch_column).checked(n_samples)


def _column(data: Any, given: Any, role: str) -> NDArray[Any]:
    """One value for each sample, from a column's name, a Series or a sequence."""
    if isinstance(given, str):
        if not isinstance(data, ad.AnnData):
            raise BadOption(
                f"{given!r} names no column of plain counts",
                where=role,
                do=f"give {role} as a Series or list, one value for each sample",
            )
        if given not in data.obs.columns:
            raise BadOption(
                f"no column {given!r} in obs",
                where=role,
                do=f"columns are {', '.join(map(str, data.obs.columns[:20])) or 'none'}",
            )
        return np.asarray(data.obs[given])
    names = data.index if isinstance(data, pd.DataFrame) else getattr(data, "obs_names", None)
    if isinstance(given, pd.Series) and names is not None and given.index.is_unique:
        if set(names) <= set(given.index):
            return np.asarray(given.loc[list(names)])
        if not isinstance(given.index, pd.RangeIndex):
            absent = next(name for name in names if name not in given.index)
            raise BadInput(f"has no value for sample {absent}", where=f"column {role!r}")
    return np.asarray(given)


def _same_kind(data: Any, values: Matrix, size_factor_S: F64) -> Any:
    if isinstance(data, ad.AnnData):
        out = data.copy()
        out.layers["counts"] = data.X.copy()
        out.X = values
        out.obs["size_factor"] = size_factor_S
        return out
    if isinstance(data, pd.DataFrame):
        return pd.DataFrame(values, index=data.index, columns=data.columns)
    return values
