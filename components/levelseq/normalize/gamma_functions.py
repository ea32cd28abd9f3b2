"""Logarithm of the gamma function and its derivatives, for use inside kernels.

Stirling's series above 10, recurrence below (Abramowitz & Stegun 1964, 6.1.41, 6.3.18, 6.4.12);
within a few units in the last place of what R gives for positive arguments.
"""

from __future__ import annotations

import math

from levelseq.normalize.compiled import kernel

__all__ = ["digamma", "lgamma", "trigamma"]

_SERIES_FROM = 10.0
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@kernel
def lgamma(x: float) -> float:
    """Logarithm of the gamma function of a positive number."""
    if x == 1.0 or x == 2.0:
        return 0.0
    product = 1.0
    while x < _SERIES_FROM:
        product *= x
        x += 1.0
    r = 1.0 / x
    r2 = r * r
    series = 691.0 / 360360.0 - r2 / 156.0
    series = 1.0 / 1188.0 - r2 * series
    series = 1.0 / 1680.0 - r2 * series
    series = 1.0 / 1260.0 - r2 * series
    series = 1.0 / 360.0 - r2 * series
    series = 1.0 / 12.0 - r2 * series
    return (x - 0.5) * math.log(x) - x + _HALF_LOG_TWO_PI + r * series - math.log(product)


@kernel
def digamma(x: float) -> float:
    """First derivative of `lgamma` at a positive number."""
    below = 0.0
    while x < _SERIES_FROM:
        below += 1.0 / x
        x += 1.0
    r = 1.0 / x
    r2 = r * r
    series = 691.0 / 32760.0 - r2 / 12.0
    series = 1.0 / 132.0 - r2 * series
    series = 1.0 / 240.0 - r2 * series
    series = 1.0 / 252.0 - r2 * series
    series = 1.0 / 120.0 - r2 * series
    series = 1.0 / 12.0 - r2 * series
    return math.log(x) - 0.5 * r - r2 * series - below


@kernel
def trigamma(x: float) -> float:
    """Second derivative of `lgamma` at a positive number."""
    below = 0.0
    while x < _SERIES_FROM:
        below += 1.0 / (x * x)
        x += 1.0
    r = 1.0 / x
    r2 = r * r
    series = 691.0 / 2730.0 - r2 * 7.0 / 6.0
    series = 5.0 / 66.0 - r2 * series
    series = 1.0 / 30.0 - r2 * series
    series = 1.0 / 42.0 - r2 * series
    series = 1.0 / 30.0 - r2 * series
    series = 1.0 / 6.0 - r2 * series
    return r + 0.5 * r2 + r * r2 * series + below
