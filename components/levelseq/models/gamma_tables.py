"""The gamma functions of counts and dispersions: a table for small counts, a series for large ones.

Shapes: G genes, K small counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.models.float32_kernels import float_kernel, log32
from levelseq.normalize.compiled import kernel
from levelseq.normalize.fast_log import fast_log

__all__ = ["SMALL", "GammaTables", "gamma_tables", "of_large_count"]

F32 = NDArray[np.float32]

SMALL = 8
"""Counts up to this are in the table."""
_ONE = np.float32(1.0)


class GammaTables(NamedTuple):
    """What theta gives to all cells.

    Attributes:
        theta_G, inverse_G: theta, one over it.
        lgamma_KG: lgamma(x + theta) - lgamma(theta) for counts 1 to SMALL.
        slope_KG: theta times its derivative.
    """

    theta_G: F32
    inverse_G: F32
    lgamma_KG: F32
    slope_KG: F32


@float_kernel
def _fill(theta_G: F32, lgamma_KG: F32, slope_KG: F32) -> None:
    n_genes = len(theta_G)
    for k in range(SMALL):
        before, more = max(k - 1, 0), np.float32(k)
        # In one loop, compilers can't tell that the rows lie apart, and don't make vectors of it.
        last_G, log_G = lgamma_KG[before], lgamma_KG[k]
        for g in range(n_genes):
            log_G[g] = last_G[g] + log32(theta_G[g] + more)
        last_G, slope_G = slope_KG[before], slope_KG[k]
        for g in range(n_genes):
            slope_G[g] = last_G[g] + theta_G[g] / (theta_G[g] + more)


def gamma_tables(log_theta_G: F32) -> GammaTables:
    """The tables of a vector of log(theta)."""
    theta_G: F32 = np.exp(log_theta_G)
    inverse_G: F32 = _ONE / theta_G
    tables = np.zeros((2, SMALL, len(theta_G)), np.float32)
    _fill(theta_G, tables[0], tables[1])
    return GammaTables(theta_G, inverse_G, tables[0], tables[1])


@kernel
def _stirling(z: float) -> tuple[float, float]:
    """Logarithm of the gamma function and its derivative, from 8 on, without a constant."""
    log_z, inverse = fast_log(z), 1.0 / z
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    slopes = square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    return (z - 0.5) * log_z - z + series, log_z - 0.5 * inverse - slopes


@kernel
def of_large_count(x: float, theta: float) -> tuple[float, float]:
    """lgamma(x + theta) - lgamma(SMALL + theta), and theta times its derivative by theta."""
    above, below = _stirling(x + np.float64(theta)), _stirling(SMALL + np.float64(theta))
    return above[0] - below[0], theta * (above[1] - below[1])
