"""ComBat's shrinkage: what one batch's genes say of each other, as in sva."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["posterior_mean", "shrink"]

F64 = NDArray[np.float64]

_CONVERGED = 1e-4  # sva's; where its iteration stops is part of its answer
_MOST_ITERATIONS = 10_000


def posterior_mean(gamma_hat: F64, n: float, delta: F64) -> F64:
    """Shift of each gene (G,), shrunk towards the mean over the genes.

    Args:
        gamma_hat: standardized shift of each gene.
        n: samples of the batch.
        delta: scale of each gene's variance.
    """
    prior_variance = gamma_hat.var(ddof=1)
    return np.asarray(
        (prior_variance * n * gamma_hat + delta * gamma_hat.mean()) / (prior_variance * n + delta)
    )


def shrink(gamma_hat: F64, squares: F64, n: float) -> tuple[F64, F64]:
    """Shift and scale of one batch over its genes: sva's `it.sol` with its priors.

    Args:
        gamma_hat: standardized mean of each gene.
        squares: standardized sum of squares around that mean.
        n: samples of the batch.
    """
    delta_hat = squares / (n - 1)
    mean, variance = delta_hat.mean(), delta_hat.var(ddof=1)
    if variance <= 0:
        return posterior_mean(gamma_hat, n, delta_hat), delta_hat
    shape, rate = (2 * variance + mean**2) / variance, (mean * variance + mean**3) / variance
    gamma, delta = gamma_hat, delta_hat
    for _ in range(_MOST_ITERATIONS):
        new_gamma = posterior_mean(gamma_hat, n, delta)
        around = squares + n * (gamma_hat - new_gamma) ** 2
        new_delta = (0.5 * around + rate) / (n / 2 + shape - 1)
        change = max(_change(new_gamma, gamma), _change(new_delta, delta))
        gamma, delta = new_gamma, new_delta
        if change <= _CONVERGED:
            break
    return gamma, delta


def _change(new: F64, old: F64) -> float:
    """sva's relative change: signed by the old value, so a negative shift never holds it up."""
    difference = np.abs(new - old)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(difference == 0, 0.0, difference / old).max())
