"""The trace of a design's projection as R computes it, rounding included.

In exact numbers it is the number of columns. `num.sv` in sva rounds it up, so that one unit in the
last place makes one column more, and with it another answer. The steps here are those of R with
the reference BLAS and LAPACK that come with it: sums in order, LU by halves with row exchange
(Toledo 1997).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["hat_trace"]

F64 = NDArray[np.float64]


def hat_trace(design_SK: F64) -> float:
    """`sum(diag(X %*% solve(t(X) %*% X) %*% t(X)))` of a design X of full rank."""
    columns_KS = np.ascontiguousarray(design_SK.T, dtype=np.float64)
    normal_KK = np.array([[_in_order(a * b) for b in columns_KS] for a in columns_KS])
    inverse_KK = _inverse(normal_KK)
    diagonal_S = np.zeros(len(design_SK))
    for k in range(len(columns_KS)):
        left_S = np.zeros(len(design_SK))
        for i in range(len(columns_KS)):
            left_S += inverse_KK[i, k] * columns_KS[i]
        diagonal_S += left_S * columns_KS[k]
    # R sums in extended precision.
    return float(np.cumsum(diagonal_S.astype(np.longdouble))[-1])


def _in_order(values_S: F64) -> float:
    return float(np.cumsum(values_S)[-1])


def _inverse(a_KK: F64) -> F64:
    lu_KK = a_KK.copy()
    size = len(lu_KK)
    inverse_KK = np.eye(size)[_factor(lu_KK)]
    for k in range(size):
        for i in range(k + 1, size):
            inverse_KK[i] -= inverse_KK[k] * lu_KK[i, k]
    for k in range(size - 1, -1, -1):
        inverse_KK[k] /= lu_KK[k, k]
        for i in range(k):
            inverse_KK[i] -= inverse_KK[k] * lu_KK[i, k]
    return inverse_KK


def _factor(a_RK: F64) -> NDArray[np.int64]:
    """Replace a matrix by its LU factors; gives the order that its rows now have."""
    order = np.arange(len(a_RK))
    size = a_RK.shape[1]
    if size == 1:
        pivot = int(np.argmax(np.abs(a_RK[:, 0])))
        order[[0, pivot]] = order[[pivot, 0]]
        a_RK[:] = a_RK[order]
        a_RK[1:, 0] *= 1.0 / a_RK[0, 0]
        return order
    half = size // 2
    order = _factor(a_RK[:, :half])
    right = a_RK[order, half:]
    for k in range(half):
        for i in range(k + 1, len(a_RK)):
            right[i] -= right[k] * a_RK[i, k]
    a_RK[:, half:] = right
    below = _factor(a_RK[half:, half:])
    a_RK[half:, :half] = a_RK[half:, :half][below]
    order[half:] = order[half:][below]
    return order
