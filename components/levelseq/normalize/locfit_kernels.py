"""Weighted least squares of a quadratic, compiled: each sum in locfit's order.

At the edge of the data the weights of a trend's genes differ by many powers of ten, and the order
of summing shows in the ninth digit of the fit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel

__all__ = ["quadratic_fit"]

F64 = NDArray[np.float64]

_ROTATED = 1e-15
_RANK = 1e-10
_SWEEPS = 20


@kernel
def quadratic_fit(t_N: F64, y_N: F64, weight_N: F64, near_N: F64) -> F64:
    """Value, slope and curvature at 0: one Newton step from the weighted mean.

    Args:
        t_N: distances; y_N: values; weight_N: weights.
        near_N: weights of nearness, 0 for a point that is left out.
    """
    total, total_y = 0.0, 0.0
    for i in range(len(t_N)):
        if near_N[i] > 0:
            total_y += near_N[i] * (weight_N[i] * y_N[i])
            total += near_N[i] * weight_N[i]
    mean = total_y / total
    score_3, z_33, x_3 = np.zeros(3), np.zeros((3, 3)), np.ones(3)
    for i in range(len(t_N)):
        if near_N[i] > 0:
            x_3[1] = t_N[i]
            x_3[2] = t_N[i] * t_N[i] / 2.0
            w = near_N[i] * weight_N[i]
            residual = weight_N[i] * (y_N[i] - mean)
            for p in range(3):
                score_3[p] += x_3[p] * near_N[i] * residual
                for q in range(3):
                    z_33[p, q] += w * x_3[p] * x_3[q]
    coefficient_3 = _solve(z_33, score_3)
    coefficient_3[0] += mean
    return coefficient_3


@kernel
def _solve(z_33: F64, score_3: F64) -> F64:
    """Solve by eigenvectors of the matrix scaled to unit diagonal; small eigenvalues are left."""
    n = len(z_33)
    scale_3 = np.zeros(n)
    for p in range(n):
        if z_33[p, p] > 0:
            scale_3[p] = 1.0 / math.sqrt(z_33[p, p])
    for p in range(n):
        for q in range(n):
            z_33[p, q] *= scale_3[p] * scale_3[q]
    vector_33 = _rotate(z_33)
    highest = z_33[0, 0]
    for p in range(1, n):
        highest = max(highest, z_33[p, p])
    along_3, out_3 = np.zeros(n), np.zeros(n)
    for p in range(n):
        for q in range(n):
            along_3[p] += vector_33[q, p] * (score_3[q] * scale_3[q])
        if z_33[p, p] > _RANK * highest:
            along_3[p] /= z_33[p, p]
    for p in range(n):
        for q in range(n):
            out_3[p] += vector_33[p, q] * along_3[q]
        out_3[p] *= scale_3[p]
    return out_3


@kernel
def _rotate(a_33: F64) -> F64:
    """Jacobi's rotations to the tolerance that locfit has; leaves eigenvalues on the diagonal."""
    n = len(a_33)
    vector_33 = np.eye(n)
    for _ in range(_SWEEPS):
        rotated = False
        for i in range(n):
            for j in range(i + 1, n):
                if a_33[i, j] * a_33[i, j] <= _ROTATED * abs(a_33[i, i] * a_33[j, j]):
                    continue
                rotated = True
                c = (a_33[j, j] - a_33[i, i]) / 2.0
                s = -a_33[i, j]
                c /= math.sqrt(c * c + s * s)
                s = math.copysign(math.sqrt((1.0 - c) / 2.0), s)
                c = math.sqrt((1.0 + c) / 2.0)
                for k in range(n):
                    u, v = a_33[i, k], a_33[j, k]
                    a_33[i, k], a_33[j, k] = u * c + v * s, v * c - u * s
                for k in range(n):
                    u, v = a_33[k, i], a_33[k, j]
                    a_33[k, i], a_33[k, j] = u * c + v * s, v * c - u * s
                # A small angle is not exact, and what it leaves here is dropped.
                a_33[i, j], a_33[j, i] = 0.0, 0.0
                for k in range(n):
                    u, v = vector_33[k, i], vector_33[k, j]
                    vector_33[k, i], vector_33[k, j] = u * c + v * s, v * c - u * s
        if not rotated:
            break
    return vector_33
