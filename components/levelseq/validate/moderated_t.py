"""Moderated t-tests: linear models of each gene with variances shrunk towards each other.

Shapes: U units (pseudobulk samples), P coefficients, G genes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma
from scipy.stats import t as student

__all__ = ["Estimate", "adjusted", "moderated_t"]

F64 = NDArray[np.float64]


class Estimate(NamedTuple):
    """One coefficient of each gene (G,): effect, standard error, its degrees of freedom."""

    effect: F64
    error: F64
    freedom: float

    def p_values(self, null: F64 | float = 0.0) -> F64:
        """Two-sided p-values (G,) of the effect being `null`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.abs(self.effect - null) / self.error
        return np.asarray(np.where(self.error > 0, 2 * student.sf(score, self.freedom), 1.0))


def moderated_t(y_UG: F64, design_UP: F64, coefficient: int) -> Estimate:
    """Least squares for each gene with an empirical-Bayes variance (Smyth 2004, limma's `eBayes`).

    Args:
        y_UG: log values.
        design_UP: of full column rank, with fewer columns than rows.
        coefficient: the column that is asked for.

    Raises:
        ValueError: no degree of freedom is left, or the design is not of full rank.
    """
    freedom = len(y_UG) - design_UP.shape[1]
    if freedom < 1 or np.linalg.matrix_rank(design_UP) < design_UP.shape[1]:
        raise ValueError("the design leaves nothing to estimate a variance from")
    inverse = np.linalg.inv(design_UP.T @ design_UP)
    beta_PG = inverse @ design_UP.T @ y_UG
    variance_G = ((y_UG - design_UP @ beta_PG) ** 2).sum(axis=0) / freedom
    prior_freedom, prior_variance = _prior(variance_G, freedom)
    if np.isinf(prior_freedom):
        shrunk_G, total = np.full_like(variance_G, prior_variance), float(freedom * y_UG.shape[1])
    else:
        weight = prior_freedom + freedom
        shrunk_G = (prior_freedom * prior_variance + freedom * variance_G) / weight
        total = min(weight, float(freedom * y_UG.shape[1]))
    error_G = np.sqrt(shrunk_G * inverse[coefficient, coefficient])
    return Estimate(beta_PG[coefficient], error_G, total)


def adjusted(p: F64) -> F64:
    """p-values adjusted for the false discovery rate (Benjamini & Hochberg 1995)."""
    order = np.argsort(-p, kind="stable")
    ranked = p[order] * len(p) / np.arange(len(p), 0, -1)
    out = np.empty_like(p)
    out[order] = np.minimum(np.minimum.accumulate(ranked), 1.0)
    return out


def _prior(variance_G: F64, freedom: int) -> tuple[float, float]:
    """Degrees of freedom and variance that the genes have in common: limma's `fitFDist`."""
    known = variance_G[variance_G > 1e-15 * max(float(np.median(variance_G)), 1e-300)]
    if len(known) < 3:
        return 0.0, 0.0
    half = freedom / 2
    e = np.log(known) - digamma(half) + np.log(half)
    spread = float(e.var(ddof=1) - polygamma(1, half))
    if spread <= 0:
        return float("inf"), float(np.exp(e.mean()))
    prior_half = _inverse_trigamma(spread)
    variance = np.exp(e.mean() + digamma(prior_half) - np.log(prior_half))
    return 2 * prior_half, float(variance)


def _inverse_trigamma(x: float) -> float:
    """Newton's method on 1/trigamma, which is nearly straight (Smyth 2004, appendix)."""
    y: Any = 0.5 + 1 / x
    for _ in range(50):
        step = polygamma(1, y) * (1 - polygamma(1, y) / x) / polygamma(2, y)
        y = y + step
        if -step / y < 1e-10:
            break
    return float(y)
