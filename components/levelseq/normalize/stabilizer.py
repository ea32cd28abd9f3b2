"""The stabilizing function of a local trend: an integral of 1 / standard deviation, as a spline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

from levelseq.errors import BadInput
from levelseq.normalize.dispersion_trend import Trend
from levelseq.normalize.vst_kernels import spline

__all__ = ["local_stabilizer"]

F64 = NDArray[np.float64]

_GRID = 1000
_AGREE_AT = (0.95, 0.999)


def local_stabilizer(
    trend: Trend, mean_G: F64, highest: float, mean_inverse_size: float
) -> tuple[F64, F64]:
    """What brings asinh of normalized counts to the log2 scale.

    Args:
        trend: of dispersion.
        mean_G: mean normalized counts; values agree with log2 at two of their quantiles.
        highest: greatest normalized count.
        mean_inverse_size: mean of 1 / size factor.

    Returns:
        scale, shift and the end of the spline (3,); its knots, values and coefficients (5, N).

    Raises:
        BadInput: the trend leads to no scale.

    Follows `DESeq2::getVarianceStabilizedData` for `fitType="local"`.
    """
    end = float(np.arcsinh(highest))
    q = np.sinh(np.arange(_GRID) * (end / (_GRID - 1)))[1:]
    q[-1] = np.sinh(end)
    # Far below the data a curve may run off to infinity: no weight there, as in R.
    with np.errstate(over="ignore"):
        integrand = 1 / np.sqrt(trend.at(q) * q**2 + mean_inverse_size * q)
    area = np.cumsum(np.diff(q) * (integrand[1:] + integrand[:-1]) / 2)
    knots_5N = _cubic(np.arcsinh((q[1:] + q[:-1]) / 2), area)
    low, high = _quantiles(mean_G)
    at_low, at_high = (spline(float(np.arcsinh(h)), end, knots_5N) for h in (low, high))
    if not at_high > at_low:
        raise BadInput(
            "the local trend leads to no scale: it has few genes, and runs off beyond them",
            where="vst",
            do="use trend mean, or log_cpm",
        )
    scale = (np.log2(high) - np.log2(low)) / (at_high - at_low)
    return np.array([scale, np.log2(low) - scale * at_low, end]), knots_5N


def _quantiles(mean_G: F64) -> tuple[float, float]:
    """Two quantiles, which must be positive and apart; DESeq2 has NaN where they are not."""
    low, high = np.quantile(mean_G, _AGREE_AT)
    if low <= 0:
        low, high = np.quantile(mean_G[mean_G > 0], _AGREE_AT)
    return float(low), float(high if high > low else low * 1.001)


def _cubic(x_N: F64, y_N: F64) -> F64:
    """R's `splinefun(x, y)`: its ends have the third derivative of a cubic through four points.

    (Forsythe, Malcolm & Moler 1977.)
    """
    h, slope = np.diff(x_N), np.diff(y_N) / np.diff(x_N)
    diagonal = np.concatenate([[-h[0]], 2 * (h[:-1] + h[1:]), [-h[-1]]])
    bend = np.diff(slope)
    first = bend[1] / (x_N[3] - x_N[1]) - bend[0] / (x_N[2] - x_N[0])
    last = bend[-1] / (x_N[-1] - x_N[-3]) - bend[-2] / (x_N[-2] - x_N[-4])
    ends = (
        first * h[0] ** 2 / (x_N[3] - x_N[0]),
        -last * h[-1] ** 2 / (x_N[-1] - x_N[-4]),
    )
    right = np.concatenate([[ends[0]], bend, [ends[1]]])
    bands = np.stack([np.append(0.0, h), diagonal, np.append(h, 0.0)])
    c = solve_banded((1, 1), bands, right)
    cubic = np.diff(c) / h
    linear = slope - h * (c[1:] + 2 * c[:-1])
    linear = np.append(linear, slope[-1] + h[-1] * (c[-2] + 2 * c[-1]))
    return np.stack([x_N, y_N, linear, 3 * c, np.append(cubic, cubic[-1])])
