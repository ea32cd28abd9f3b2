"""ComBat's shrinkage: what one batch's genes say of each other, as in sva."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel

__all__ = ["posterior_mean", "shrink"]

F64 = NDArray[np.float64]

_CONVERGED = 1e-4  # sva's; where its iteration stops is part of its answer
_MOST_ITERATIONS = 10_000


def posterior_mean(gamma_hat: F64, n: float | F64, delta: F64) -> F64:
    """Shift of each gene (G,), shrunk towards the mean over the genes.

    Args:
        gamma_hat: standardized shift of each gene.
        n: samples of the batch, or values of each gene.
        delta: scale of each gene's variance.
    """
    prior = gamma_hat.var(ddof=1)
    weight = prior * n + delta
    known = weight > 0
    mean = gamma_hat.mean()
    shrunk = (prior * n * gamma_hat + delta * mean) / np.where(known, weight, 1.0)
    return np.asarray(np.where(known, shrunk, mean))


def shrink(gamma_hat: F64, squares: F64, n: float | F64) -> tuple[F64, F64]:
    """Shift and scale of one batch over its genes: sva's `it.sol` with its priors.

    Args:
        gamma_hat: standardized mean of each gene.
        squares: standardized sum of squares around that mean.
        n: samples of the batch, or values of each gene. A gene with one value, where sva stops
            with an error, has no part in the prior of scales and takes it.
    """
    n_G = np.broadcast_to(np.asarray(n, dtype=np.float64), gamma_hat.shape)
    delta_hat = squares / np.maximum(n_G - 1, 1)
    several = n_G > 1
    # Without two genes that have a variance there is no prior to take.
    found = delta_hat[several] if several.sum() > 1 else np.ones(2)
    mean, variance = found.mean(), found.var(ddof=1)
    delta_hat = np.where(several, delta_hat, mean)
    if variance <= 0:
        return posterior_mean(gamma_hat, n_G, delta_hat), delta_hat
    shape, rate = (2 * variance + mean**2) / variance, (mean * variance + mean**3) / variance
    gamma, delta = gamma_hat.copy(), delta_hat
    prior = (gamma_hat.mean(), gamma_hat.var(ddof=1), shape, rate)
    _iterate(gamma_hat, squares, np.ascontiguousarray(n_G), *prior, gamma, delta)
    return gamma, delta


@kernel
def _iterate(
    gamma_hat: Any,
    squares: Any,
    n_G: Any,
    mean: float,
    variance: float,
    shape: float,
    rate: float,
    gamma: Any,
    delta: Any,
) -> None:
    """Update shift given scale and scale given shift, until sva would stop.

    Its relative change is signed by the old value, so a negative shift never holds it up.
    """
    for _ in range(_MOST_ITERATIONS):
        moving = 0
        for g in range(len(gamma)):
            weight = variance * n_G[g]
            new_gamma = (weight * gamma_hat[g] + delta[g] * mean) / (weight + delta[g])
            away = gamma_hat[g] - new_gamma
            around = squares[g] + n_G[g] * away * away
            new_delta = (0.5 * around + rate) / (n_G[g] / 2 + shape - 1)
            # A comparison with NaN, of two zeros, is false.
            moving += abs(new_gamma - gamma[g]) / gamma[g] > _CONVERGED
            moving += abs(new_delta - delta[g]) / delta[g] > _CONVERGED
            gamma[g], delta[g] = new_gamma, new_delta
        if moving == 0:
            break
