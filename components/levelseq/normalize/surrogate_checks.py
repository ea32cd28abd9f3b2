"""What a surrogate variable analysis refuses, and says in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption

__all__ = [
    "METHODS",
    "check_enough_controls",
    "check_nested",
    "check_number",
    "checked_controls",
    "checked_design",
    "chosen_method",
    "orthonormal",
]

F64 = NDArray[np.float64]
METHODS = ("irw", "two-step", "supervised")

_RANK_TOLERANCE = 1e-7
_FEWEST_GENES = 2


def checked_design(design_SK: Any, n_samples: int, name: str) -> F64:
    """The design as a matrix.

    Raises:
        BadInput: not one row a sample, no column, or a value is NaN or infinite.
    """
    design = np.asarray(design_SK, dtype=np.float64)
    design = design[:, None] if design.ndim == 1 else design
    if design.ndim != 2 or len(design) != n_samples or not design.shape[1]:
        raise BadInput(
            f"has shape {design.shape}, not a row for each of {n_samples} samples", where=name
        )
    if not np.isfinite(design).all():
        rows = np.flatnonzero(~np.isfinite(design).all(axis=1))
        raise BadInput(f"a value is NaN or infinite in sample {rows[0] + 1}", where=name)
    return design


def orthonormal(design_SK: F64, name: str) -> F64:
    """(S, K): an orthonormal basis of a design's columns.

    Raises:
        BadInput: columns are collinear, or as many as samples.
    """
    n_samples, n_columns = design_SK.shape
    if n_columns >= n_samples:
        raise BadInput(
            f"{n_columns} columns of {n_samples} samples leave no degree of freedom",
            where=name,
            do="leave columns out, or add samples",
        )
    length_K = np.sqrt((design_SK**2).sum(axis=0))
    basis_SK, upper_KK = np.linalg.qr(design_SK / np.where(length_K > 0, length_K, 1.0))
    collinear = np.flatnonzero(np.abs(np.diag(upper_KK)) < _RANK_TOLERANCE)
    if len(collinear):
        raise BadInput(
            f"column {collinear[0] + 1} of {n_columns} follows from those before it",
            where=name,
            do="leave out what is constant or confounded",
        )
    return np.asarray(basis_SK)


def check_nested(mod_SK: F64, mod0_SK: F64) -> None:
    """Refuse a mod0 that is not a smaller part of mod.

    Raises:
        BadInput: columns of mod0 are outside of mod, or mod has no more than mod0.
    """
    basis_SK, basis0_SK = orthonormal(mod_SK, "mod"), orthonormal(mod0_SK, "mod0")
    outside_SK = basis0_SK - basis_SK @ (basis_SK.T @ basis0_SK)
    if (np.sqrt((outside_SK**2).sum(axis=0)) > _RANK_TOLERANCE).any():
        raise BadInput(
            "has a column that does not follow from mod",
            where="mod0",
            do="put all of its columns into mod",
        )
    if mod_SK.shape[1] == mod0_SK.shape[1]:
        raise BadInput(
            "has no column beside those of mod0, so nothing is of interest",
            where="mod",
            do="name a condition, or use method two-step",
        )


def chosen_method(method: str, controls: Any, variance_filter: int | None) -> str:
    """The method, of which an empty one means supervised with controls, irw without.

    Raises:
        BadOption: there is no such method, or the options do not go together.
    """
    if method not in ("", *METHODS):
        raise BadOption(f"no method {method!r}", where="method", do=f"choose {', '.join(METHODS)}")
    chosen = method or ("irw" if controls is None else "supervised")
    if (chosen == "supervised") != (controls is not None):
        raise BadOption(
            "is for method supervised, which needs it",
            where="control_G",
            do="give both or neither",
        )
    if chosen == "supervised" and variance_filter is not None:
        raise BadOption("does not go with controls", where="variance_filter", do="leave it out")
    return chosen


def checked_controls(control_G: Any, n_genes: int) -> F64:
    """Probabilities that genes are controls; zeros where none are given.

    Raises:
        BadOption: not one for each gene, or not all between 0 and 1.
    """
    if control_G is None:
        return np.zeros(n_genes)
    controls = np.asarray(control_G, dtype=np.float64)
    if controls.shape != (n_genes,):
        raise BadOption(
            f"has shape {controls.shape}, not one value for each of {n_genes} genes",
            where="control_G",
        )
    if not ((controls >= 0) & (controls <= 1)).all():
        raise BadOption("a probability is not between 0 and 1", where="control_G")
    return controls


def check_number(n_surrogates: int, n_genes: int, mod_SK: F64) -> None:
    """Refuse more surrogates than samples and genes can tell.

    Raises:
        BadOption: a negative number, or too many.
        BadInput: fewer than two genes vary.
    """
    n_samples, n_columns = mod_SK.shape
    if n_genes < _FEWEST_GENES:
        raise BadInput(
            f"{n_genes} genes vary beside mod0, and surrogates need two",
            where="data",
            do="look for samples that are copies of each other",
        )
    most = min(n_samples - n_columns - 1, n_genes)
    if not 0 <= n_surrogates <= most:
        raise BadOption(
            f"{n_surrogates} is not between 0 and {most}: "
            f"{n_samples} samples, {n_columns} columns of mod, {n_genes} genes that vary",
            where="n_surrogates",
        )


def check_enough_controls(control_G: F64, n_surrogates: int) -> None:
    """Refuse more surrogates than control genes that vary.

    Raises:
        BadOption: there are fewer.
    """
    n_controls = int(np.count_nonzero(control_G))
    if n_controls < n_surrogates:
        genes = "gene" if n_controls == 1 else "genes"
        raise BadOption(
            f"{n_controls} control {genes} that vary, fewer than {n_surrogates} surrogates",
            where="control_G",
            do="name more, or ask for fewer surrogates",
        )
