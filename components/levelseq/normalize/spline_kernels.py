"""Kernels of the cubic smoothing spline: B-splines, their penalty, banded least squares.

Points go from 0 to 1; the first and the last knot are there four times. Bands (K, 4) hold at [j, d]
the entry of row j and column j + d. Sums are in the order of R's `smooth.spline`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel

__all__ = ["add_penalty", "add_points", "b_splines", "fit_criterion", "spline_values"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]


@kernel
def b_splines(knot_T: F64, at_N: F64, first_N: Int) -> F64:
    """(N, 4): the four cubic B-splines, the `first` and those after it, that are not 0 at x."""
    out = np.empty((len(at_N), 4))
    for n in range(len(at_N)):
        left = first_N[n] + 3
        out[n, 0] = 1.0
        for order in range(1, 4):
            saved = 0.0
            for i in range(order):
                above = knot_T[left + i + 1] - at_N[n]
                below = at_N[n] - knot_T[left + 1 - order + i]
                term = out[n, i] / (above + below)
                out[n, i] = saved + above * term
                saved = below * term
            out[n, order] = saved
    return out


@kernel
def add_points(basis_N4: F64, first_N: Int, y_N: F64, gram_K4: F64, right_K: F64) -> None:
    """Add the products of the B-splines at the points, and with y."""
    for n in range(len(y_N)):
        for i in range(4):
            j = first_N[n] + i
            right_K[j] += y_N[n] * basis_N4[n, i]
            for d in range(4 - i):
                gram_K4[j, d] += basis_N4[n, i] * basis_N4[n, i + d]


@kernel
def add_penalty(knot_T: F64, penalty_K4: F64) -> None:
    """Products of second derivatives, which are straight lines between two knots."""
    coefficient = np.zeros((5, 4))
    for first in range(len(penalty_K4) - 3):
        left = first + 3
        coefficient[:] = 0.0
        for i in range(4):
            coefficient[i + 1, i] = 1.0
        for order in (3, 2):
            row, knot = 4, left
            for _ in range(order):
                factor = order / (knot_T[knot + order] - knot_T[knot])
                for j in range(row):
                    coefficient[row, j] = (coefficient[row, j] - coefficient[row - 1, j]) * factor
                row -= 1
                knot -= 1
        width = knot_T[left + 1] - knot_T[left]
        # One but for rounding, as the B-splines at the two ends are in R.
        end = width * (1.0 / width)
        start = coefficient[3] * end
        rise = coefficient[4] * end - start
        for i in range(4):
            for d in range(4 - i):
                k = i + d
                # R takes .333 for a third.
                mixed = (rise[i] * start[k] + rise[k] * start[i]) * 0.5
                term = start[i] * start[k] + mixed + rise[i] * rise[k] * 0.333
                penalty_K4[first + i, d] += width * term


@kernel
def fit_criterion(
    gram_K4: F64,
    penalty_K4: F64,
    right_K: F64,
    weight: float,
    knot_T: F64,
    at_N: F64,
    y_N: F64,
    first_N: Int,
    basis_N4: F64,
    coefficient_K: F64,
) -> float:
    """Fill the coefficients; give the criterion, NaN where the equations are singular."""
    n_splines = len(right_K)
    # factor[j, d]: row j - d and column j of the upper Cholesky factor.
    factor = np.zeros((n_splines + 3, 4))
    for j in range(n_splines):
        squares = 0.0
        for d in range(min(j, 3), 0, -1):
            dot = 0.0
            for k in range(max(0, j - 3), j - d):
                dot += factor[j - d, j - d - k] * factor[j, j - k]
            entry = gram_K4[j - d, d] + weight * penalty_K4[j - d, d] - dot
            factor[j, d] = entry / factor[j - d, 0]
            squares += factor[j, d] * factor[j, d]
        rest = gram_K4[j, 0] + weight * penalty_K4[j, 0] - squares
        if not rest > 0:
            return np.nan
        factor[j, 0] = math.sqrt(rest)
    for j in range(n_splines):
        dot = 0.0
        for d in range(min(j, 3), 0, -1):
            dot += factor[j, d] * coefficient_K[j - d]
        coefficient_K[j] = (right_K[j] - dot) / factor[j, 0]
    for j in range(n_splines - 1, -1, -1):
        coefficient_K[j] /= factor[j, 0]
        for d in range(1, min(j, 3) + 1):
            coefficient_K[j - d] += -coefficient_K[j] * factor[j, d]
    fitted_N = spline_values(knot_T, coefficient_K, at_N, 0)
    inverse = _inverse(factor)
    squares, freedom = 0.0, 0.0
    for n in range(len(y_N)):
        squares += (y_N[n] - fitted_N[n]) * (y_N[n] - fitted_N[n])
        b, j = basis_N4[n], first_N[n]
        leverage = inverse[j, 0] * (b[0] * b[0])
        for i in range(4):
            for d in range(4 - i):
                if i + d > 0:
                    v = inverse[j + i, d]
                    leverage += v * (b[i] * b[i]) if d == 0 else 2.0 * v * b[i] * b[i + d]
        freedom += leverage
    n_points = len(y_N)
    left = 1.0 - freedom / n_points
    return squares / n_points / (left * left)


@kernel
def _inverse(factor: F64) -> F64:
    """(K + 3, 4): the band of the inverse of the matrix whose Cholesky factor is given."""
    n_splines = len(factor) - 3
    v = np.zeros((n_splines + 3, 4))
    for j in range(n_splines - 1, -1, -1):
        c0 = 1.0 / factor[j, 0]
        c1, c2, c3 = factor[j + 3, 3] * c0, factor[j + 2, 2] * c0, factor[j + 1, 1] * c0
        v[j, 3] = 0.0 - (c1 * v[j + 3, 0] + c2 * v[j + 2, 1] + c3 * v[j + 1, 2])
        v[j, 2] = 0.0 - (c1 * v[j + 2, 1] + c2 * v[j + 2, 0] + c3 * v[j + 1, 1])
        v[j, 1] = 0.0 - (c1 * v[j + 1, 2] + c2 * v[j + 1, 1] + c3 * v[j + 1, 0])
        v[j, 0] = (
            c0 * c0
            + c1 * c1 * v[j + 3, 0]
            + 2.0 * c1 * c2 * v[j + 2, 1]
            + 2.0 * c1 * c3 * v[j + 1, 2]
            + c2 * c2 * v[j + 2, 0]
            + 2.0 * c2 * c3 * v[j + 1, 1]
            + c3 * c3 * v[j + 1, 0]
        )
    return v


@kernel
def spline_values(knot_T: F64, coefficient_K: F64, at_N: F64, derivative: int) -> F64:
    """(N,): a spline or its derivative at points from 0 to 1, by de Boor's recursion."""
    out = np.empty(len(at_N))
    n_splines = len(coefficient_K)
    inner = knot_T[4:n_splines]
    c = np.empty(4)
    for n in range(len(at_N)):
        x = at_N[n]
        left = int(np.searchsorted(inner, x, side="right")) + 3
        for i in range(4):
            c[i] = coefficient_K[left - 3 + i]
        for order in range(3, 0, -1):
            for i in range(order):
                above = knot_T[left + 1 + i] - x
                below = x - knot_T[left + 1 - order + i]
                if 4 - order <= derivative:
                    c[i] = (c[i + 1] - c[i]) / (below + above) * order
                else:
                    c[i] = (c[i + 1] * below + c[i] * above) / (below + above)
        out[n] = c[0]
    return out
