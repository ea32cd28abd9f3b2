"""A cubic smoothing spline whose smoothness generalized cross-validation chooses.

The answer of R's `smooth.spline(x, y)` with its defaults: knots at some of the x, a penalty on
the squared second derivative, and a search of its weight. The search stops at 1e-4, so its path is
part of the answer; sums are in the order of R's, so that it takes the same path. After Hastie &
Tibshirani (1990), de Boor (1978) for B-splines, Elden (1984) and Hutchinson & de Hoog (1985) for
the leverages, Brent (1973) for the search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.spline_kernels import (
    add_penalty,
    add_points,
    b_splines,
    fit_criterion,
    spline_values,
)

__all__ = ["SmoothingSpline", "smoothing_spline"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_LOW, _HIGH, _TOLERANCE, _EPS = -1.5, 1.5, 1e-4, 2e-8
_MAX_STEPS = 500
_GOLDEN = 0.381966011250105151795
_NOT_FINITE = 2e100
_INSIDE = 1e-11


@dataclass(frozen=True)
class SmoothingSpline:
    """A fitted spline.

    Attributes:
        knot_T: knots, the range of x as 0 to 1, its ends four times.
        coefficient_K: of the B-splines.
        low, width: least x, and greatest less least.
        smoothing: R's `spar`; weight: R's `lambda`, its last one.
    """

    knot_T: F64
    coefficient_K: F64
    low: float
    width: float
    smoothing: float
    weight: float

    def __call__(self, x_N: F64) -> F64:
        """Values (N,); beyond the ends a straight line, as R's `predict`."""
        at_N = (np.asarray(x_N, dtype=np.float64) - self.low) / self.width
        value_N = self._inside(np.clip(at_N, 0.0, 1.0), 0)
        if (at_N < 0).any() or (at_N > 1).any():
            slope = self._inside(np.array([0.0, 1.0]), 1)
            value_N += slope[0] * np.minimum(at_N, 0) + slope[1] * np.maximum(at_N - 1, 0)
        return value_N

    def _inside(self, at_N: F64, derivative: int) -> F64:
        return spline_values(self.knot_T, self.coefficient_K, at_N, derivative)


class _Problem(NamedTuple):
    """What stays the same while the smoothness is searched: N points, K B-splines.

    Bands (K, 4) hold at [j, d] the entry of row j and column j + d.
    """

    knot_T: F64
    at_N: F64
    y_N: F64
    first_N: Int
    basis_N4: F64
    gram_K4: F64
    penalty_K4: F64
    right_K: F64
    ratio: float

    def fit(self, smoothing: float) -> tuple[float, F64, float]:
        """Criterion, coefficients and weight of the penalty at a smoothness."""
        weight = self.ratio * math.pow(16.0, smoothing * 6.0 - 2.0)
        coefficient_K = np.empty(len(self.right_K))
        criterion = fit_criterion(
            self.gram_K4, self.penalty_K4, self.right_K, weight,
            self.knot_T, self.at_N, self.y_N, self.first_N, self.basis_N4, coefficient_K,
        )  # fmt: skip
        return criterion if math.isfinite(criterion) else _NOT_FINITE, coefficient_K, weight


def smoothing_spline(x_N: F64, y_N: F64) -> SmoothingSpline:
    """The spline through N >= 4 points, x strictly ascending and all weights equal.

    Raises:
        ValueError: fewer than four points, or x does not ascend.
    """
    x_N, y_N = np.asarray(x_N, dtype=np.float64), np.asarray(y_N, dtype=np.float64)
    if len(x_N) < 4 or not (np.diff(x_N) > 0).all():
        raise ValueError("a smoothing spline needs four points or more, x ascending")
    low, width = float(x_N[0]), float(x_N[-1] - x_N[0])
    at_N = (x_N - low) / width
    problem = _problem(at_N, y_N)
    smoothing, coefficient_K, weight = _search(problem)
    return SmoothingSpline(problem.knot_T, coefficient_K, low, width, smoothing, weight)


def _problem(at_N: F64, y_N: F64) -> _Problem:
    inner = at_N[_spread(len(at_N), _n_knots(len(at_N)))]
    knot_T = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    n_splines = len(inner) + 2
    # The last point belongs to the last interval.
    first_N = np.searchsorted(knot_T[4:n_splines], at_N, side="right").astype(np.int64)
    basis_N4 = b_splines(knot_T, at_N, first_N)
    gram_K4, right_K = np.zeros((n_splines, 4)), np.zeros(n_splines)
    add_points(basis_N4, first_N, y_N, gram_K4, right_K)
    penalty_K4 = np.zeros((n_splines, 4))
    add_penalty(knot_T, penalty_K4)
    trace = 0.0, 0.0
    for j in range(2, n_splines - 3):
        trace = trace[0] + float(gram_K4[j, 0]), trace[1] + float(penalty_K4[j, 0])
    # For the leverage R steps back from the very end.
    basis_N4[-1] = b_splines(knot_T, np.array([knot_T[-1] - _INSIDE]), first_N[-1:])[0]
    return _Problem(
        knot_T, at_N, y_N, first_N, basis_N4, gram_K4, penalty_K4, right_K, trace[0] / trace[1]
    )


def _n_knots(n: int) -> int:
    """How many of n points are knots, R's `.nknots.smspl`: all of a few, 200 of thousands."""
    if n < 50:
        return n
    if n >= 3200:
        return int(200 + (n - 3200) ** 0.2)
    points, knots = (50, 200, 800, 3200), (50, 100, 140, 200)
    i = int(np.searchsorted(points, n, side="right")) - 1
    a, b = math.log2(knots[i]), math.log2(knots[i + 1])
    return int(2 ** (a + (b - a) * (n - points[i]) / (points[i + 1] - points[i])))


def _spread(n: int, size: int) -> Int:
    """`size` places evenly among n, cut to whole numbers as R cuts an index."""
    place = 1 + np.arange(size) * ((n - 1) / (size - 1))
    place[-1] = n
    return place.astype(np.int64) - 1


def _search(problem: _Problem) -> tuple[float, F64, float]:
    """Brent's search for the least criterion.

    Gives the best smoothness, but coefficients and weight of the last one that was tried: R does.
    """
    a, b = _LOW, _HIGH
    x = w = v = a + _GOLDEN * (b - a)
    fx, coefficient_K, weight = problem.fit(x)
    fw = fv = fx
    d = e = 0.0
    for _ in range(_MAX_STEPS):
        middle = (a + b) * 0.5
        near = _EPS * abs(x) + _TOLERANCE / 3.0
        if abs(x - middle) <= near * 2.0 - (b - a) * 0.5:
            break
        step = None
        if abs(e) > near:
            step = _parabola(x, w, v, fx, fw, fv, a, b, e)
        if step is None:
            e = a - x if x >= middle else b - x
            d = _GOLDEN * e
        else:
            e, d = d, step
            if x + d - a < near * 2.0 or b - (x + d) < near * 2.0:
                d = math.copysign(near, middle - x)
        u = x + (d if abs(d) >= near else math.copysign(near, d))
        fu, tried_K, tried = problem.fit(u)
        if fu < _NOT_FINITE:
            coefficient_K, weight = tried_K, tried
        if fu <= fx:
            a, b = (x, b) if u >= x else (a, x)
            v, fv, w, fw, x, fx = w, fw, x, fx, u, fu
            continue
        a, b = (u, b) if u < x else (a, u)
        if fu <= fw or w == x:
            v, fv, w, fw = w, fw, u, fu
        elif fu <= fv or v in (x, w):
            v, fv = u, fu
    return x, coefficient_K, weight


def _parabola(
    x: float, w: float, v: float, fx: float, fw: float, fv: float, a: float, b: float, e: float
) -> float | None:
    """The step to the lowest point of the parabola through three, where it can be trusted."""
    r = (x - w) * (fx - fv)
    q = (x - v) * (fx - fw)
    p = (x - v) * q - (x - w) * r
    q = (q - r) * 2.0
    if q > 0:
        p = -p
    q = abs(q)
    if abs(p) >= abs(0.5 * q * e) or q == 0 or p <= q * (a - x) or p >= q * (b - x):
        return None
    return p / q
