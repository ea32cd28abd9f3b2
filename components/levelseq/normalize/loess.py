"""Loess in one predictor: a smooth curve through scattered points.

Local polynomials are fitted at the ends of a few cells, and cubics with their values and slopes
lie between (Cleveland & Grosse 1991), as in R's `loess` with its default surface.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.loess_kernels import curve_at, fit_curve, without_trend
from levelseq.normalize.r_quantile import row_quantiles

__all__ = ["Curve", "detrended", "fit", "predict"]

F64 = NDArray[np.float64]

_HIGHEST = 0.99
_SPAN = 0.75
_ROBUST_ITERATIONS = 4


@dataclass(frozen=True)
class Curve:
    """A fitted curve.

    Attributes:
        vertices: ends of the cells, ascending (V,).
        values, slopes: of the curve there (V,).
        low, high: least and greatest x of the fit.
    """

    vertices: F64
    values: F64
    slopes: F64
    low: float
    high: float


def fit(
    x: ArrayLike,
    y: ArrayLike,
    *,
    span: float = _SPAN,
    degree: int = 2,
    family: str = "gaussian",
) -> Curve:
    """The curve of y over x.

    Args:
        x, y: points (N,), four or more.
        span: part of the points that each local fit looks at, above 0 and at most 1.
        degree: of the local polynomials: 0, 1 or 2.
        family: `gaussian`, or `symmetric` for outliers that should have no say.

    Where a local fit's points all lie in one place, or at the same distance, it is their mean
    (R: zero).

    Raises:
        BadInput: not finite, not as many y as x, or too few points.
        BadOption: span, degree or family out of range.

    Follows `stats::loess` (Cleveland, Grosse & Shyu 1992).
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _check(x, y, span, degree, family)
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    weight = np.ones(len(x))
    curve = _curve(x, y, weight, span, degree)
    for _ in range(_ROBUST_ITERATIONS - 1 if family == "symmetric" else 0):
        weight = _robustness(np.abs(y - predict(curve, x)))
        curve = _curve(x, y, weight, span, degree)
    return curve


def predict(curve: Curve, x: ArrayLike) -> F64:
    """The curve at points; beyond the points of the fit, its value at the nearest of them.

    R gives NA beyond them.
    """
    at = np.clip(np.asarray(x, dtype=np.float64), curve.low, curve.high)
    out = np.empty(at.shape)
    curve_at(curve.vertices, curve.values, curve.slopes, at.ravel(), out.ravel())
    return out


def detrended(x_SG: F64, feature_G: F64, hold_ends: bool, samples: Sequence[str]) -> F64:
    """(S, G): counts over their trend along a feature, which is one at the median of the counts.

    The trend is a loess curve of log counts over the feature, fitted to each sample's genes with
    counts, without the highest hundredth of all. For a gene beyond these it goes on level with
    `hold_ends`, else it is zero as in EDASeq, which multiplies the gene by the sample's median.

    Raises:
        BadInput: a sample with counts of fewer than four genes below the highest hundredth, or
            of genes with one value of the feature; names the sample.

    Follows `EDASeq::withinLaneNormalization(which="loess")`.
    """
    order = np.argsort(feature_G, kind="stable")
    highest_S = row_quantiles(x_SG, _HIGHEST)
    middle_S2 = np.array(
        [_middle_two(x_G[(x_G > 0) & (x_G <= h)]) for x_G, h in zip(x_SG, highest_S)]
    )
    out_SG = np.empty(x_SG.shape)
    done_S = without_trend(
        x_SG, feature_G[order], order, highest_S, middle_S2, _SPAN, hold_ends, out_SG
    )
    if not done_S.all():
        raise BadInput(
            "has counts of too few genes for a trend along their feature",
            where=f"sample {samples[int(np.argmin(done_S))]}",
            do="leave the sample out",
        )
    return out_SG


def _middle_two(counts: F64) -> F64:
    """The two values in the middle; one twice where their number is odd."""
    n = len(counts)
    if n == 0:
        return np.ones(2)
    low, high = (n - 1) // 2, n // 2
    return np.partition(counts, (low, high))[[low, high]]


def _curve(x: F64, y: F64, weight: F64, span: float, degree: int) -> Curve:
    vertices, values, slopes = fit_curve(x, y, weight, float(span), degree)
    return Curve(vertices, values, slopes, float(x[0]), float(x[-1]))


def _robustness(residual: F64) -> F64:
    """Bisquare weights of absolute residuals (Cleveland 1979)."""
    n = len(residual)
    half = n // 2 + 1
    part = np.partition(residual, (half - 2, half - 1))
    scale = 3 * (part[half - 2] + part[half - 1]) if n % 2 == 0 else 6 * part[half - 1]
    if scale < np.finfo(np.float64).tiny:
        return np.ones(n)
    weight = np.where(residual > 0.001 * scale, (1 - (residual / scale) ** 2) ** 2, 1.0)
    return np.where(residual > 0.999 * scale, 0.0, weight)


def _check(x: F64, y: F64, span: float, degree: int, family: str) -> None:
    if not 0 < span <= 1:
        raise BadOption(f"span {span} is not above 0 and at most 1", where="loess")
    if degree not in (0, 1, 2):
        raise BadOption(f"degree {degree} is not 0, 1 or 2", where="loess")
    if family not in ("gaussian", "symmetric"):
        raise BadOption(f"no family {family!r}", where="loess", do="use gaussian or symmetric")
    if x.ndim != 1 or x.shape != y.shape:
        raise BadInput(f"x has shape {x.shape} and y {y.shape}, not one of both", where="loess")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadInput("a value is NaN or infinite", where="loess")
    if len(x) < 4 or math.floor(len(x) * span + 1e-5) < degree + 1:
        raise BadInput(
            f"{len(x)} points are too few for degree {degree} and span {span}", where="loess"
        )
