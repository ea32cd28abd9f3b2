"""What a linear correction removes, coded as limma does, and whether it can be told from the rest.

Batches are coded by sums (R's `contr.sum`): what is removed from a batch is its distance from the
mean of all batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.design import Design
from levelseq.normalize.linear_model import orthogonal, rank

__all__ = ["Factor", "check_removable", "covariates", "factor", "sum_coding"]

F64 = NDArray[np.float64]

_CONFOUNDED = 1e-6


@dataclass(frozen=True)
class Factor:
    """A batch of each sample.

    Attributes:
        column: what it is called in messages.
        levels: its batches, in R's order.
        code_S: the number of each sample's level.
    """

    column: str
    levels: tuple[str, ...]
    code_S: NDArray[np.int64]

    def coded(self) -> F64:
        """(S, levels - 1): as R's `model.matrix` with sums for contrasts, less the intercept."""
        return sum_coding(len(self.levels))[self.code_S]


def factor(values: Any, n_samples: int, column: str, levels: Sequence[str] = ()) -> Factor:
    """A column of batches, with the levels of a fit, or its own and its own name.

    Levels that are all numbers are in the order of numbers, others in that of their letters' codes
    (R in the C locale); the order only tells in designs of which R drops a column.

    Raises:
        BadInput: not a value for each sample, one level only, or a level that the fit had not.
    """
    if not levels and getattr(values, "name", None) is not None:
        column = str(values.name)
    design = Design(values, batch_column=column).checked(n_samples)
    own = set(design.batch)
    if levels:
        unknown = sorted(own - set(levels))
        if unknown:
            some = ", ".join(levels[:8]) + (", …" if len(levels) > 8 else "")
            raise BadInput(
                f"batch {unknown[0]!r} was not in the fit, which had {some}",
                where=f"column {column!r}",
                do="fit again with its samples",
            )
        return Factor(column, tuple(levels), design.batch_codes(levels))
    if len(own) < 2:
        raise BadInput(
            f"has one batch, {min(own)!r}, and there is nothing to remove between batches",
            where=f"column {column!r}",
            do="leave it out",
        )
    ordered = tuple(sorted(own, key=_as_number if all(map(_is_number, own)) else None))
    return Factor(column, ordered, design.batch_codes(ordered))


def covariates(values: Any, n_samples: int, n_columns: int | None = None) -> F64:
    """(S, K): numeric covariates as a matrix; a vector is one column.

    Raises:
        BadInput: not a row for each sample, not the fit's columns, or NaN or infinite values.
    """
    matrix = np.asarray(values, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or len(matrix) != n_samples or n_columns not in (None, matrix.shape[1]):
        columns = "" if n_columns is None else f" and {n_columns} columns"
        raise BadInput(
            f"have shape {matrix.shape}, not {n_samples} rows{columns}", where="covariates"
        )
    if not np.isfinite(matrix).all():
        row = int(np.argmin(np.isfinite(matrix).all(axis=1)))
        raise BadInput("a value is NaN or infinite", where=f"covariates, sample in row {row}")
    return matrix


def sum_coding(n_levels: int) -> F64:
    """(levels, levels - 1): an own column for each level but the last, which is -1 in all."""
    return np.vstack([np.eye(n_levels - 1), -np.ones(n_levels - 1)])


def check_removable(
    design_SK: F64, factors: Sequence[Factor], covariates_SK: F64, columns: Sequence[str]
) -> None:
    """Refuse to remove what the design keeps.

    Parts that say the same as each other, as a batch within a site, are removed together and
    are no harm.

    Args:
        design_SK: what is kept.
        factors: what is removed, each checked alone and then all together.
        covariates_SK: as factors.
        columns: names of the design's columns; empty: unnamed.

    Raises:
        BadInput: a factor or covariate, or all of them together, cannot be told from the design.
    """
    for part in factors:
        if _shared(design_SK, part.coded()):
            raise BadInput(
                f"{_groups(design_SK, part)} differ as the design does{_of(columns)}, so what is "
                "batch there cannot be told from what is kept",
                where=f"column {part.column!r}",
                do="leave it out of the design, or level by reference samples",
            )
    if _shared(design_SK, covariates_SK):
        raise BadInput(
            f"follow from the design{_of(columns)}, which is kept",
            where="covariates",
            do="leave them out of one of the two",
        )
    all_SK = np.concatenate([*(part.coded() for part in factors), covariates_SK], axis=1)
    if _shared(design_SK, all_SK):
        names = [repr(part.column) for part in factors] + ["covariates"] * bool(covariates_SK.size)
        raise BadInput(
            f"together cannot be told from the design{_of(columns)}, which is kept",
            where=f"columns {', '.join(names)}",
            do="leave one out",
        )


def _shared(design_SK: F64, removed_SK: F64) -> int:
    """Dimensions that the removed columns share with the design, beside the mean."""
    one = np.ones((len(design_SK), 1))
    kept = rank(design_SK)
    has_mean = rank(np.column_stack([design_SK, one])) == kept
    common = one if has_mean else one[:, :0]
    own: int = rank(np.column_stack([common, removed_SK])) - common.shape[1]
    return kept + own - rank(np.column_stack([design_SK, removed_SK]))


def _groups(design_SK: F64, part: Factor) -> str:
    """The batches, in groups between which the design leaves no comparison."""
    q_SR, coded_SK = orthogonal(design_SK).q_SR, part.coded()
    outside_SK = coded_SK - q_SR @ (q_SR.T @ coded_SK)
    _, size, directions = np.linalg.svd(outside_SK, full_matrices=True)
    size = np.append(size, np.zeros(len(directions) - len(size)))
    inside = directions[size < _CONFOUNDED * math.sqrt(len(coded_SK))]
    value_BN = np.round(sum_coding(len(part.levels)) @ inside.T, 5)
    groups: dict[tuple[float, ...], list[str]] = {}
    for name, value in zip(part.levels, value_BN + 0.0):
        groups.setdefault(tuple(value.tolist()), []).append(name)
    texts = [_some(names) for names in groups.values()]
    return "batches " + " and ".join(texts[:4]) + (" and …" if len(texts) > 4 else "")


def _some(names: Sequence[str]) -> str:
    text = ", ".join(repr(name) for name in names[:4]) + (", …" if len(names) > 4 else "")
    return text if len(names) == 1 else f"({text})"


def _of(columns: Sequence[str]) -> str:
    return f" of {', '.join(columns[:6])}" if columns else ""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _as_number(text: str) -> float:
    return float(text)
