"""Least squares of many genes on one design, with R's rule for columns that say nothing new.

A column whose part outside the columns before it is under 1e-7 of its length is left out, and
its coefficient is not estimated (R's `lm.fit`, LINPACK's `dqrdc2`). The orthogonal columns are
known from the design alone, before any value is read, so coefficients stream in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from levelseq.errors import BadInput
from levelseq.normalize.compiled import blocks, in_threads, kernel

__all__ = [
    "Orthogonal",
    "Products",
    "checked_design",
    "orthogonal",
    "rank",
    "weighted_coefficients",
]

F64 = NDArray[np.float64]

_TOLERANCE = 1e-7
_GENES = 256


@dataclass(frozen=True)
class Orthogonal:
    """A design of K columns, of which R are independent.

    Attributes:
        q_SR: orthonormal columns.
        r_RR: upper triangle that gives back the independent columns.
        columns: which those are, ascending.
        n_columns: K.
    """

    q_SR: F64
    r_RR: F64
    columns: NDArray[np.int64]
    n_columns: int

    @property
    def dropped(self) -> list[int]:
        """Columns that are not estimated."""
        return sorted(set(range(self.n_columns)) - set(self.columns.tolist()))

    def coefficients(self, product_RG: F64) -> F64:
        """(K, G) from `q_SR.T @ x_SG`; zero for columns that are not estimated."""
        out = np.zeros((self.n_columns, product_RG.shape[1]))
        if len(self.columns):
            out[self.columns] = solve_triangular(self.r_RR, product_RG, check_finite=False)
        return out


class Products:
    """Sums of `q_SR.T @ x_SG` over blocks of samples: all that coefficients need of the values.

    Attributes:
        value_RG: the sums; without genes until the first block.
    """

    def __init__(self, n_columns: int) -> None:
        self.value_RG = np.empty((n_columns, 0))

    def add(self, q_sR: F64, x_sG: F64) -> None:
        """Add some samples' rows of the orthogonal design and of the values."""
        if not self.value_RG.shape[1]:
            self.value_RG = np.zeros((len(self.value_RG), x_sG.shape[1]))
        self.value_RG += q_sR.T @ x_sG


def checked_design(design_SK: Any, n_samples: int) -> F64:
    """(S, K): a design as numbers; a column of ones where there is none.

    Raises:
        BadInput: not a row for each sample, no column, or NaN or infinite values.
    """
    if design_SK is None:
        return np.ones((n_samples, 1))
    design_SK = np.asarray(design_SK, dtype=np.float64)
    if design_SK.ndim != 2 or len(design_SK) != n_samples or not design_SK.shape[1]:
        raise BadInput(
            f"shape {design_SK.shape} is not a row for each of {n_samples} samples", where="design"
        )
    bad = np.flatnonzero(~np.isfinite(design_SK).all(axis=1))
    if bad.size:
        raise BadInput("a value is NaN or infinite", where=f"design, sample in row {bad[0]}")
    return np.ascontiguousarray(design_SK)


def orthogonal(design_SK: F64) -> Orthogonal:
    """Decompose a design, column after column."""
    n_samples, n_columns = design_SK.shape
    q_SR = np.zeros((n_samples, min(n_samples, n_columns)), order="F")
    r_RR = np.zeros((q_SR.shape[1], q_SR.shape[1]))
    columns: list[int] = []
    for k in range(n_columns):
        done = len(columns)
        if done == q_SR.shape[1]:
            break
        rest_S, product = np.array(design_SK[:, k], dtype=np.float64), np.zeros(done)
        length = np.linalg.norm(rest_S)
        for _ in range(2):  # Once leaves rounding along the earlier columns; twice does not.
            step = q_SR[:, :done].T @ rest_S
            rest_S -= q_SR[:, :done] @ step
            product += step
        left = np.linalg.norm(rest_S)
        if left == 0 or left < _TOLERANCE * length:
            continue
        q_SR[:, done] = rest_S / left
        r_RR[:done, done], r_RR[done, done] = product, left
        columns.append(k)
    n = len(columns)
    return Orthogonal(q_SR[:, :n], r_RR[:n, :n], np.array(columns, dtype=np.int64), n_columns)


def rank(design_SK: F64) -> int:
    """How many columns are independent."""
    return len(orthogonal(design_SK).columns)


def weighted_coefficients(x_SG: F64, design_SK: F64, weight: Any = None) -> F64:
    """(K, G): each gene fitted by itself, on the samples in which it has a value.

    Args:
        x_SG: values; NaN is missing.
        design_SK: one design for all genes.
        weight: of each sample (S,) or value (S, G); a value of weight zero, or NaN, is left out.

    Returns:
        Coefficients; zero where a gene's own samples cannot tell one.

    Raises:
        BadInput: weights that do not match the values, or are infinite.

    Follows `limma::lm.series` with missing values or weights.
    """
    n_genes = x_SG.shape[1]
    out_GK = np.zeros((n_genes, design_SK.shape[1]))
    weight_SG = _weights(weight, x_SG.shape)
    design_KS = np.ascontiguousarray(design_SK.T, dtype=np.float64)

    def fit(genes: slice) -> None:
        x_GS = np.ascontiguousarray(x_SG[:, genes].T)
        weight_GS = np.ascontiguousarray(weight_SG[:, genes].T)
        _fit_genes(x_GS, weight_GS, design_KS, out_GK[genes])

    in_threads(fit, blocks(n_genes, _GENES))
    return np.ascontiguousarray(out_GK.T)


def _weights(weight: Any, shape: tuple[int, ...]) -> F64:
    """(S, G): weights of values; of samples, the same for every gene."""
    given = np.asarray(1.0 if weight is None else weight, dtype=np.float64)
    given = given[:, None] if given.ndim == 1 else given
    if weight is not None and given.shape not in (shape, (shape[0], 1)):
        raise BadInput(f"have shape {given.shape}, the values {shape}", where="weights")
    if np.isinf(given).any():
        raise BadInput("a weight is infinite", where="weights")
    return np.asarray(np.broadcast_to(given, shape))


@kernel
def _fit_genes(x_GS: F64, weight_GS: F64, design_KS: F64, out_GK: F64) -> None:
    """As `orthogonal`, and coefficients, of each gene's weighted design."""
    n_genes, n_samples = x_GS.shape
    n_columns = len(design_KS)
    q, y = np.empty((n_columns, n_samples)), np.empty(n_samples)
    r, product = np.zeros((n_columns, n_columns)), np.empty(n_columns)
    column = np.empty(n_columns, dtype=np.int64)
    for g in range(n_genes):
        n = 0
        for s in range(n_samples):
            if np.isfinite(x_GS[g, s]) and weight_GS[g, s] > 0:
                root = np.sqrt(weight_GS[g, s])
                y[n] = root * x_GS[g, s]
                n += 1
        found = 0
        for k in range(n_columns):
            if found == n:
                break
            at, squares = 0, 0.0
            for s in range(n_samples):
                if np.isfinite(x_GS[g, s]) and weight_GS[g, s] > 0:
                    q[found, at] = np.sqrt(weight_GS[g, s]) * design_KS[k, s]
                    squares += q[found, at] * q[found, at]
                    at += 1
            r[:, found] = 0.0
            for _ in range(2):
                for j in range(found):
                    step = 0.0
                    for i in range(n):
                        step += q[j, i] * q[found, i]
                    for i in range(n):
                        q[found, i] -= step * q[j, i]
                    r[j, found] += step
            left = 0.0
            for i in range(n):
                left += q[found, i] * q[found, i]
            if left == 0.0 or np.sqrt(left) < _TOLERANCE * np.sqrt(squares):
                continue
            r[found, found] = np.sqrt(left)
            for i in range(n):
                q[found, i] /= r[found, found]
            column[found] = k
            found += 1
        for j in range(found):
            product[j] = 0.0
            for i in range(n):
                product[j] += q[j, i] * y[i]
        for j in range(found - 1, -1, -1):
            for k in range(j + 1, found):
                product[j] -= r[j, k] * out_GK[g, column[k]]
            out_GK[g, column[j]] = product[j] / r[j, j]
