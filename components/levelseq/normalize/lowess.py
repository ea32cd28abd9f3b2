"""Cleveland's locally weighted regression in one variable: R's `lowess`.

Points that lie within `delta` of the last one fitted are read off a line, so the fit costs
O(n) for each of about 100 fitted points however many points there are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.compiled import kernel

__all__ = ["Curve", "lowess"]

F64 = NDArray[np.float64]


class Curve(NamedTuple):
    """A fitted curve at its points, sorted.

    Attributes:
        x: positions, ascending, with ties.
        y: fitted values.
        fitted: where the curve was fitted; between those points it is straight.
    """

    x: F64
    y: F64
    fitted: NDArray[np.bool_]


def lowess(
    x: Any, y: Any, span: float = 2 / 3, iterations: int = 3, delta: float | None = None
) -> Curve:
    """A smooth curve through points.

    Args:
        x: positions (n,), in any order.
        y: values (n,).
        span: share of the points that each local line is fitted to.
        iterations: of robustness, after the first fit.
        delta: points nearer than this to a fitted point are interpolated; None: one hundredth of
            the range of `x`.

    Raises:
        BadInput: no points, different lengths, or NaN or infinite values.
        BadOption: an option out of its range.

    Follows `stats::lowess` (Cleveland 1979, 1981).
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not x.size:
        raise BadInput(f"shapes {x.shape} and {y.shape} are not one row of points", where="lowess")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadInput("a point is NaN or infinite", where="lowess")
    if not span > 0:
        raise BadOption(f"is {span}, not positive", where="span")
    if iterations < 0:
        raise BadOption(f"is {iterations}, negative", where="iterations")
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    step = 0.01 * (x[-1] - x[0]) if delta is None else float(delta)
    if not step >= 0:
        raise BadOption(f"is {delta}, negative", where="delta")
    n = len(x)
    neighbours = max(min(2, n), min(n, int(span * n + 1e-7)))
    weight = np.ones(n)
    for iteration in range(iterations + 1):
        curve, fitted = _fit(x, y, weight, neighbours, step)
        residual = np.abs(y - curve)
        scale = residual.mean()
        middle = np.partition(residual, (n // 2, n - n // 2 - 1))
        mad6 = 3 * (middle[n // 2] + middle[n - n // 2 - 1])
        # Residuals that are nothing beside the mean are rounding, and no guide to outliers.
        if iteration == iterations or mad6 < 1e-7 * scale:
            break
        weight = _bisquare(residual, mad6)
    return Curve(x, curve, fitted)


def _bisquare(residual: F64, mad6: float) -> F64:
    """Robustness weights: one for the smallest residuals, none from six median ones on."""
    inside = (1 - (residual / mad6) ** 2) ** 2 if mad6 > 0 else np.zeros_like(residual)
    return np.where(residual <= 0.001 * mad6, 1.0, np.where(residual <= 0.999 * mad6, inside, 0.0))


@kernel
def _fit(
    x: F64, y: F64, weight: F64, neighbours: int, delta: float
) -> tuple[F64, NDArray[np.bool_]]:
    """One pass: local lines at points `delta` apart, straight between them."""
    n = len(x)
    out, fitted, local = np.empty(n), np.zeros(n, dtype=np.bool_), np.empty(n)
    left, right = 0, neighbours - 1
    last, at = -1, 0
    while True:
        # The window of nearest points moves right while that brings a nearer point in.
        while right < n - 1 and x[at] - x[left] > x[right + 1] - x[at]:
            left += 1
            right += 1
        out[at] = _local_line(x, y, weight, x[at], y[at], left, right, local)
        fitted[at] = True
        for j in range(last + 1, at):
            share = (x[j] - x[last]) / (x[at] - x[last])
            out[j] = share * out[at] + (1 - share) * out[last]
        last = at
        ahead = last + 1
        while ahead < n and x[ahead] <= x[at] + delta:
            if x[ahead] == x[last]:
                out[ahead] = out[last]
                fitted[ahead] = True
                last = ahead
            ahead += 1
        at = max(last + 1, ahead - 1)
        if last >= n - 1:
            return out, fitted


@kernel
def _local_line(
    x: F64,
    y: F64,
    weight: F64,
    position: float,
    otherwise: float,
    left: int,
    right: int,
    local: F64,
) -> float:
    """The value at `position` of a line fitted with tricube weights; `local` is room for those."""
    n = len(x)
    spread = x[n - 1] - x[0]
    h = max(position - x[left], x[right] - position)
    total, end = 0.0, left
    # Ties may lie right of the window and still within its width.
    while end < n:
        distance = abs(x[end] - position)
        local[end] = 0.0
        if distance <= 0.999 * h:
            local[end] = weight[end]
            if distance > 0.001 * h:
                cubed = distance / h * (distance / h) * (distance / h)
                local[end] *= (1 - cubed) * (1 - cubed) * (1 - cubed)
            total += local[end]
        elif x[end] > position:
            break
        end += 1
    if total <= 0.0:
        return otherwise
    mean = 0.0
    for j in range(left, end):
        local[j] /= total
        mean += local[j] * x[j]
    squares = 0.0
    for j in range(left, end):
        squares += local[j] * (x[j] - mean) * (x[j] - mean)
    slope = 0.0
    # Points that lie all but on one position tell no slope.
    if h > 0 and np.sqrt(squares) > 0.001 * spread:
        slope = (position - mean) / squares
    value = 0.0
    for j in range(left, end):
        value += local[j] * (slope * (x[j] - mean) + 1) * y[j]
    return value
