"""Local quadratic regression of one variable, evaluated as locfit evaluates it.

Fitted at the vertices of cells that are halved until they are short beside their bandwidths, and
joined by cubic Hermite pieces (Loader 1999, Local Regression and Likelihood, chapter 12). What is
joined is the difference to one global quadratic, so beyond the data the curve follows that one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.locfit_kernels import quadratic_fit

__all__ = ["Curve", "fit"]

F64 = NDArray[np.float64]

_CUT = 0.8
_NEAREST = 0.7
_MOST_VERTICES = 200
_LEAST_CELL = 1e-6


@dataclass(frozen=True)
class Curve:
    """A fitted curve.

    Attributes:
        x_V: vertices, ascending.
        value_V, slope_V: of the fit less the quadratic, at the vertices.
        center: where the quadratic is centred.
        quadratic_3: its value, slope and curvature there.
    """

    x_V: F64
    value_V: F64
    slope_V: F64
    center: float
    quadratic_3: F64

    def at(self, x: F64) -> F64:
        """The curve; beyond the outer vertices the difference to the quadratic goes on straight."""
        x = np.asarray(x, dtype=np.float64)
        quadratic = _quadratic(self.quadratic_3, x - self.center)
        if len(self.x_V) < 2:
            return np.asarray(quadratic + self.value_V[0])
        left = np.clip(np.searchsorted(self.x_V, x, side="right") - 1, 0, len(self.x_V) - 2)
        width = self.x_V[left + 1] - self.x_V[left]
        h = (x - self.x_V[left]) / width
        below, above = h < 0, h > 1
        inner = np.clip(h, 0.0, 1.0)
        later = inner * inner * (3 - 2 * inner)
        from_left = np.where(below, h, inner * (1 - inner) * (1 - inner))
        from_right = np.where(above, h - 1, inner * inner * (inner - 1))
        values = (1 - later) * self.value_V[left] + later * self.value_V[left + 1]
        slopes = from_left * self.slope_V[left] + from_right * self.slope_V[left + 1]
        return np.asarray(values + width * slopes + quadratic)


def fit(x: F64, y: F64, weight: F64) -> Curve:
    """The curve through points (N,) with weights, nearest neighbours 0.7, degree 2, tricube.

    Needs one point, or three and more. Where 0.7 N points share their x, the curve there is the
    quadratic. Follows `locfit::locfit(y ~ x, weights=weight)` (Loader 1999), which stops with an
    error at more than 19 vertices; here cells may be halved further, to a millionth of the range.
    """
    # In the points' order, not pairwise as numpy sums.
    center = float(np.cumsum(x * weight)[-1] / np.cumsum(weight)[-1])
    quadratic_3 = quadratic_fit(x - center, y, weight, np.ones(len(x)))
    nearest = int(len(x) * _NEAREST + 1e-12)
    found: dict[float, tuple[float, float, float]] = {}

    def vertex(v: float) -> float:
        """Fit at a vertex, once; its bandwidth."""
        if v not in found:
            found[v] = _vertex(v, x, y, weight, nearest, center, quadratic_3)
        return found[v][2]

    low, high = float(x.min()), float(x.max())
    cells = [(low, high)]
    while cells:
        left, right = cells.pop()
        widths = [h for h in (vertex(left), vertex(right)) if h > 0]
        score = (right - left) / min(widths) if widths else 2 * (right - left) / (high - low or 1)
        wide = right - left > _LEAST_CELL * (high - low)
        if score > _CUT and wide and len(found) < _MOST_VERTICES:
            middle = (left + right) / 2
            cells += [(middle, right), (left, middle)]
    x_V = np.array(sorted(found))
    fits = np.array([found[v][:2] for v in x_V.tolist()])
    return Curve(x_V, fits[:, 0].copy(), fits[:, 1].copy(), center, quadratic_3)


def _vertex(
    v: float, x: F64, y: F64, weight: F64, nearest: int, center: float, quadratic_3: F64
) -> tuple[float, float, float]:
    """Value and slope of the local fit less the quadratic, and the bandwidth."""
    distance = np.abs(x - v)
    bandwidth = float(np.partition(distance, nearest - 1)[nearest - 1]) if nearest else 0.0
    if bandwidth == 0:
        return 0.0, 0.0, 0.0
    u = np.minimum(distance / bandwidth, 1.0)
    near = 1 - u * u * u
    near = near * near * near
    if not (near * weight > 0).any():
        return 0.0, 0.0, bandwidth
    local_3 = quadratic_fit(x - v, y, weight, near)
    value = local_3[0] - float(_quadratic(quadratic_3, np.array(v - center)))
    slope = local_3[1] - (quadratic_3[1] + quadratic_3[2] * (v - center))
    return float(value), float(slope), bandwidth


def _quadratic(coefficient_3: F64, t: F64) -> F64:
    return np.asarray(coefficient_3[0] + t * coefficient_3[1] + t * t / 2 * coefficient_3[2])
