"""Means of normalized counts, and what a design expects of each count.

A design with as many distinct rows as columns is a set of groups, whose expectation is the mean of
normalized counts (a linear model); any other is fitted as a negative binomial model by
`dispersion_glm.fit`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize import dispersion_glm
from levelseq.normalize.compiled import kernel
from levelseq.normalize.vst_kernels import divided

__all__ = ["LEAST_EXPECTED", "Model", "checked_size_factors", "expectations", "means_and_variances"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

LEAST_EXPECTED = 0.5
"""Expectations below it count as it in the search for a dispersion."""

_RANK_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Model:
    """Size factors and design of the samples.

    Attributes:
        size_factor_S: DESeq2's size factors.
        design_SK: design matrix, full rank, fewer columns than samples.
        rows: each sample's place among the distinct rows of the design, and those rows.
    """

    size_factor_S: F64
    design_SK: F64
    rows: tuple[I64, F64]

    @classmethod
    def of(cls, size_factor_S: F64, design_SK: F64 | None = None) -> Model:
        """The model, checked.

        Raises:
            BadInput: see `dispersion.gene_wise_dispersions`.
        """
        size_factor_S = checked_size_factors(size_factor_S)
        n = len(size_factor_S)
        design_SK = np.ones((n, 1)) if design_SK is None else np.asarray(design_SK, np.float64)
        if design_SK.ndim != 2 or len(design_SK) != n or not np.isfinite(design_SK).all():
            raise BadInput(
                f"is no matrix of finite numbers with a row for each of {n} samples", where="design"
            )
        if _rank(design_SK) < design_SK.shape[1]:
            raise BadInput(
                "has columns that are linear combinations of others, or all zero",
                where="design",
                do="leave one of the confounded columns out",
            )
        if n <= design_SK.shape[1]:
            raise BadInput(
                f"{n} samples and {design_SK.shape[1]} coefficients leave no replicates to "
                "estimate a dispersion from",
                where="design",
                do="add samples, or use log_cpm",
            )
        row_NK, row_S = np.unique(design_SK, axis=0, return_inverse=True)
        rows = (row_S.reshape(-1).astype(np.int64), np.ascontiguousarray(row_NK))
        return cls(size_factor_S, np.ascontiguousarray(design_SK), rows)

    @property
    def mean_inverse_size(self) -> float:
        """Mean of 1 / size factor: Poisson noise of normalized counts is this times their mean."""
        return float(np.mean(1.0 / self.size_factor_S))

    @property
    def is_groups(self) -> bool:
        """Whether the design tells groups only, so that a linear model has their means."""
        return bool(len(self.rows[1]) == self.design_SK.shape[1])

    def linear(self, normalized_GS: F64) -> F64:
        """(G, S): normalized counts as a linear model of the design fits them."""
        if (self.design_SK == 1).all():
            return np.repeat(_intercept(normalized_GS)[:, None], len(self.design_SK), axis=1)
        q_SK, r_KK = np.linalg.qr(self.design_SK)
        return np.asarray((normalized_GS @ q_SK) @ (self.design_SK @ np.linalg.inv(r_KK)).T)


def _rank(design_SK: F64) -> int:
    norm_K = np.linalg.norm(design_SK, axis=0)
    if not norm_K.all():
        return int((norm_K > 0).sum()) - 1
    return int(np.linalg.matrix_rank(design_SK / norm_K, tol=_RANK_TOLERANCE))


def checked_size_factors(size_factor_S: F64) -> F64:
    """Size factors as an array.

    Raises:
        BadInput: one is not a positive number.
    """
    values = np.ascontiguousarray(size_factor_S, dtype=np.float64)
    bad = ~(np.isfinite(values) & (values > 0))
    if values.ndim != 1 or bad.any():
        place = int(np.argmax(bad)) if values.ndim == 1 else 0
        raise BadInput(
            "a size factor is not a positive number",
            where=f"sample in row {place}",
            do="leave the sample out",
        )
    return values


def expectations(y_GS: F64, alpha_G: F64, model: Model) -> F64:
    """(G, S): expected counts of each gene, given rough dispersions (G,)."""
    size_S = model.size_factor_S
    if model.is_groups:
        return model.linear(y_GS / size_S) * size_S
    return dispersion_glm.fit(y_GS, size_S, model.design_SK, alpha_G)


def _intercept(normalized_GS: F64) -> F64:
    """Means (G,) with the rounding that R's `qr` of a column of ones gives them."""
    mean_G = np.empty(len(normalized_GS))
    _by_reflection(normalized_GS, mean_G)
    return mean_G


@kernel
def _by_reflection(normalized_GS: F64, mean_G: F64) -> None:
    n_genes, n = normalized_GS.shape
    inverse = 1.0 / math.sqrt(n)
    for g in range(n_genes):
        total = normalized_GS[g, 0] * (1.0 - (1.0 + inverse))
        for s in range(1, n):
            total += normalized_GS[g, s] * -inverse
        mean_G[g] = total * -inverse


def means_and_variances(x_GS: F64, size_factor_S: F64) -> tuple[F64, F64]:
    """Mean and variance (G,) of normalized counts, rounded as R's `rowMeans` and `rowVars`."""
    out_2G = np.empty((2, len(x_GS)))
    _means_and_variances(x_GS, size_factor_S, out_2G)
    return out_2G[0], out_2G[1]


@kernel
def _means_and_variances(x_GS: F64, size_factor_S: F64, out_2G: F64) -> None:
    n_genes, n = x_GS.shape
    for g in range(n_genes):
        total, lost, plain = 0.0, 0.0, 0.0
        for s in range(n):
            normalized = x_GS[g, s] / size_factor_S[s]
            grown = total + normalized
            part = grown - total
            lost += (total - (grown - part)) + (normalized - part)
            total = grown
            plain += normalized
        out_2G[0, g] = divided(total, lost, n)
        mean, squares = plain / n, 0.0
        for s in range(n):
            away = x_GS[g, s] / size_factor_S[s] - mean
            squares += away * away
        out_2G[1, g] = squares / (n - 1)
