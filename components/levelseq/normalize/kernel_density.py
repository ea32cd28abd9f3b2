"""A density of numbers by a Gaussian kernel on a grid of 512 points.

The answer of R's `density(x, adjust=)` (since 4.4 with `old.coords=TRUE`): Silverman's (1986, 3.31)
rule of thumb for the width, the numbers shared between neighbouring grid points, the sum over all
pairs by Fourier transform.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bandwidth", "kernel_density"]

F64 = NDArray[np.float64]

_POINTS = 512
_CUT = 3.0
_MARGIN = 4.0
_NORMAL_IQR = 1.34


def bandwidth(x_N: F64) -> float:
    """R's `bw.nrd0` of two finite numbers or more; above 0 also where they are equal."""
    # Of equal numbers 0, also where their mean is rounded.
    spread = float(x_N.std(ddof=1)) if np.ptp(x_N) > 0 else 0.0
    upper, lower = np.quantile(x_N, [0.75, 0.25])
    robust = min(spread, float(upper - lower) / _NORMAL_IQR)
    return float(0.9 * (robust or spread or abs(float(x_N[0])) or 1.0) * len(x_N) ** -0.2)


def kernel_density(x_N: F64, *, adjust: float = 1.0) -> tuple[F64, F64]:
    """Grid (512,) and density on it, of two finite numbers or more.

    Args:
        x_N: the numbers.
        adjust: multiplies the kernel's width.
    """
    width = adjust * bandwidth(x_N)
    start, stop = x_N.min() - _CUT * width, x_N.max() + _CUT * width
    low, high = start - _MARGIN * width, stop + _MARGIN * width
    mass_M = np.zeros(2 * _POINTS)
    mass_M[:_POINTS] = _shared(x_N, low, high)
    distance_M = np.linspace(0.0, 2 * (high - low), 2 * _POINTS)
    distance_M[_POINTS + 1 :] = -distance_M[_POINTS - 1 : 0 : -1]
    kernel_M = np.exp(-0.5 * (distance_M / width) ** 2) / (width * np.sqrt(2 * np.pi))
    sum_M = np.fft.ifft(np.fft.fft(mass_M) * np.conj(np.fft.fft(kernel_M)))
    density = np.maximum(0.0, sum_M.real[:_POINTS])
    grid = np.linspace(start, stop, _POINTS)
    return grid, np.interp(grid, np.linspace(low, high, _POINTS), density)


def _shared(x_N: F64, low: float, high: float) -> F64:
    """(512,): the mass of each number, divided between the grid points beside it."""
    place_N = (x_N - low) / ((high - low) / (_POINTS - 1))
    left_N = np.floor(place_N)
    to_right_N = place_N - left_N
    share_N = 1.0 / len(x_N)
    points = np.stack([left_N, left_N + 1], axis=1).astype(np.int64).ravel()
    shares = np.stack([share_N * (1.0 - to_right_N), share_N * to_right_N], axis=1).ravel()
    return np.bincount(points, weights=shares, minlength=_POINTS).astype(np.float64)
