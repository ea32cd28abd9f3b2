"""Negative binomial models of counts with a log link and given dispersions.

Iteratively reweighted least squares with DESeq2's start, ridge and stopping rule; genes that it
fails for are fitted by a bounded quasi-Newton search, as in DESeq2 (Love, Huber & Anders 2014).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from levelseq.normalize.compiled import kernel
from levelseq.normalize.gamma_functions import lgamma

__all__ = ["fit", "numeric_gradient"]

F64 = NDArray[np.float64]

_RIDGE = 1e-6
_TOLERANCE = 1e-8
_MOST_STEPS = 100
_LEAST_EXPECTED = 0.5
_LARGE = 30.0
_STEP = 1e-3
_LN2 = math.log(2.0)


def fit(y_GS: F64, size_factor_S: F64, design_SK: F64, alpha_G: F64) -> F64:
    """Expected counts (G, S) of genes.

    Args:
        y_GS: counts.
        size_factor_S: size factors.
        design_SK: design matrix of full rank.
        alpha_G: dispersions, taken as they are.

    Follows `DESeq2:::fitNbinomGLMs`.
    """
    q_SK, r_KK = np.linalg.qr(design_SK)
    # In an orthonormal basis normal equations lose no digits; the ridge goes along.
    start_GK = np.log(y_GS / size_factor_S + 0.1) @ q_SK
    inverse_KK = np.linalg.inv(r_KK)
    ridge_KK = inverse_KK.T @ inverse_KK * (_RIDGE / _LN2**2)
    gamma_GK, settled_G = start_GK.copy(), np.zeros(len(y_GS), dtype=np.bool_)
    _reweighted(y_GS, size_factor_S, q_SK, inverse_KK, ridge_KK, alpha_G, gamma_GK, settled_G)
    mu_GS = size_factor_S * np.exp(gamma_GK @ q_SK.T)
    for g in np.flatnonzero(~settled_G):
        beta_K = inverse_KK @ gamma_GK[g] / _LN2
        if not (np.isfinite(beta_K).all() and (np.abs(beta_K) < _LARGE).all()):
            beta_K = inverse_KK @ start_GK[g]
        mu_GS[g] = _searched(y_GS[g], size_factor_S, design_SK, alpha_G[g], beta_K)
    return np.asarray(mu_GS)


@kernel
def _reweighted(
    y_GS: F64,
    size_S: F64,
    q_SK: F64,
    inverse_KK: F64,
    ridge_KK: F64,
    alpha_G: F64,
    gamma_GK: F64,
    settled_G: NDArray[np.bool_],
) -> None:
    """Iterate each gene's coefficients in the basis Q, in place."""
    n, k = q_SK.shape
    mu_S = np.empty(n)
    for g in range(len(y_GS)):
        y_S, alpha, gamma_K = y_GS[g], alpha_G[g], gamma_GK[g]
        constant = _constant(y_S, alpha)
        _expected(gamma_K, q_SK, size_S, mu_S)
        last = 0.0
        for t in range(_MOST_STEPS):
            a_KK, b_K = ridge_KK.copy(), np.zeros(k)
            for s in range(n):
                w = mu_S[s] / (1.0 + alpha * mu_S[s])
                z = math.log(mu_S[s] / size_S[s]) + (y_S[s] - mu_S[s]) / mu_S[s]
                for p in range(k):
                    b_K[p] += w * q_SK[s, p] * z
                    for o in range(p + 1):
                        a_KK[p, o] += w * q_SK[s, p] * q_SK[s, o]
            for p in range(k):
                for o in range(p):
                    a_KK[o, p] = a_KK[p, o]
            _solve(a_KK, b_K)
            gamma_K[:] = b_K
            if _is_large(inverse_KK, gamma_K):
                break
            _expected(gamma_K, q_SK, size_S, mu_S)
            deviance = -2.0 * (constant + _likelihood(y_S, mu_S, alpha))
            change = abs(deviance - last) / (abs(deviance) + 0.1)
            if math.isnan(change):
                break
            if t > 0 and change < _TOLERANCE:
                # DESeq2 counts steps from 1, so the last one allowed is no convergence.
                settled_G[g] = t + 1 < _MOST_STEPS
                break
            last = deviance


@kernel
def _is_large(inverse_KK: F64, gamma_K: F64) -> bool:
    """Whether a coefficient of the design itself has left the range that DESeq2 follows."""
    for p in range(len(gamma_K)):
        beta = 0.0
        for o in range(len(gamma_K)):
            beta += inverse_KK[p, o] * gamma_K[o]
        if not abs(beta) <= _LARGE:
            return True
    return False


@kernel
def _expected(gamma_K: F64, q_SK: F64, size_S: F64, mu_S: F64) -> None:
    for s in range(len(mu_S)):
        eta = 0.0
        for p in range(len(gamma_K)):
            eta += q_SK[s, p] * gamma_K[p]
        mu_S[s] = max(size_S[s] * math.exp(eta), _LEAST_EXPECTED)


@kernel
def _constant(y_S: F64, alpha: float) -> float:
    """The part of the log likelihood that does not depend on the expectations."""
    r = 1.0 / alpha
    lg = lgamma(r)
    total = 0.0
    for y in y_S:
        if y > 0:
            total += lgamma(y + r) - lg - lgamma(y + 1.0)
    return total


@kernel
def _likelihood(y_S: F64, mu_S: F64, alpha: float) -> float:
    """The part that depends on them."""
    total = 0.0
    for s in range(len(y_S)):
        z = mu_S[s] * alpha
        total -= math.log1p(z) / alpha
        if y_S[s] > 0:
            total += y_S[s] * math.log(z / (1.0 + z))
    return total


@kernel
def _solve(a_KK: F64, b_K: F64) -> None:
    """Solve A x = b in place by Cholesky's method, A symmetric and positive definite."""
    k = len(b_K)
    for p in range(k):
        for q in range(p + 1):
            total = a_KK[p, q]
            for t in range(q):
                total -= a_KK[p, t] * a_KK[q, t]
            a_KK[p, q] = math.sqrt(total) if p == q else total / a_KK[q, q]
    for p in range(k):
        for t in range(p):
            b_K[p] -= a_KK[p, t] * b_K[t]
        b_K[p] /= a_KK[p, p]
    for p in range(k - 1, -1, -1):
        for t in range(p + 1, k):
            b_K[p] -= a_KK[t, p] * b_K[t]
        b_K[p] /= a_KK[p, p]


def _searched(y_S: F64, size_S: F64, design_SK: F64, alpha: float, beta_K: F64) -> F64:
    """Expected counts (S,) of one gene, by a search for its log2 coefficients."""
    constant = _constant(y_S, alpha)
    prior = 0.5 * _RIDGE

    def lack(beta_K: F64) -> float:
        mu_S = size_S * 2.0 ** (design_SK @ beta_K)
        with np.errstate(all="ignore"):
            likelihood = constant + _likelihood(y_S, mu_S, alpha)
        value = prior * float(beta_K @ beta_K) - likelihood
        return value if math.isfinite(value) else 1e300

    bounds = [(-_LARGE, _LARGE)] * len(beta_K)
    options: Any = {"maxcor": 5, "ftol": 1e7 * np.finfo(float).eps, "gtol": 0.0, "maxiter": 100}
    found = minimize(
        lack,
        np.clip(beta_K, -_LARGE, _LARGE),
        jac=partial(numeric_gradient, lack, limit=_LARGE),
        method="L-BFGS-B",
        bounds=bounds,
        options=options,
    )
    return np.asarray(size_S * 2.0 ** (design_SK @ found.x))


def numeric_gradient(function: Any, x_K: F64, limit: float = math.inf) -> F64:
    """Central differences with R's step of 0.001, shorter at the bounds as in R's `optim`."""
    gradient_K = np.empty(len(x_K))
    for k in range(len(x_K)):
        high, low = min(x_K[k] + _STEP, limit), max(x_K[k] - _STEP, -limit)
        up, down = x_K.copy(), x_K.copy()
        up[k], down[k] = high, low
        gradient_K[k] = (function(up) - function(down)) / (high - low)
    return gradient_K
