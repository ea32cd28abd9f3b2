"""Probabilities of counts and of their sums under negative binomial distributions.

One count: Loader (2000), by deviances that do not cancel. Sums: the continued fraction of
DiDonato & Morris (1992, ACM Transactions on Mathematical Software 18:360), many counts at once.
Within some 1e-14 of the truth, as far as numbers reach down.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.fast_log import fast_log
from levelseq.normalize.gamma_functions import lgamma

__all__ = ["LANES", "SMALL", "log_probability", "probabilities", "size_terms"]

F64 = NDArray[np.float64]

SMALL = 16
"""Counts below have a table of their own, Stirling's formula is for those above."""
LANES = 32
"""Counts at once."""

_EPS = 2.220446049250313e-16
_TERMS = 4000
_FAR = -650.0


@kernel
def _log1p(x: float) -> float:
    """Logarithm of 1 + x, for x above -1."""
    y = 1.0 + x
    return fast_log(y) + (x - (y - 1.0)) / y


@kernel
def _stirling_error(z: float) -> float:
    """Log gamma of z + 1, z from 16, less Stirling's (z + 1/2) log z - z + log(2 pi) / 2."""
    r = 1.0 / z
    r2 = r * r
    series = 1.0 / 1188.0 - r2 * (691.0 / 360360.0)
    series = 1.0 / 1680.0 - r2 * series
    series = 1.0 / 1260.0 - r2 * series
    series = 1.0 / 360.0 - r2 * series
    return r * (1.0 / 12.0 - r2 * series)


@kernel
def size_terms(size: float, terms: F64) -> None:
    """What a size, one over a dispersion, gives to all counts.

    Args:
        size: the size.
        terms: the answer, 17 numbers: for small counts k the log probability of k where k is the
            mean; then the error of Stirling's formula for the size.
    """
    log_choices = 0.0
    for k in range(SMALL):
        terms[k] = log_choices
        if k > 0:
            terms[k] -= size * math.log1p(k / size) + k * math.log1p(size / k)
        log_choices += math.log((size + k) / (k + 1.0))
    if size >= SMALL:
        terms[SMALL] = _stirling_error(size)
    else:
        stirling = (size + 0.5) * math.log(size) - size + 0.5 * math.log(2 * math.pi)
        terms[SMALL] = lgamma(size + 1.0) - stirling


@kernel
def _relative(k: float, mean: float, size: float, terms: F64) -> float:
    """Log probability of a count, without the peak of a small one or the root of a large one."""
    total, counted = k + size, max(k, 1.0)
    value = -k * _log1p(size * (counted - mean) / ((counted + size) * mean))
    value -= size * _log1p((mean - k) / total)
    large = max(k, float(SMALL))
    error = _stirling_error(large + size) - terms[SMALL] - _stirling_error(large)
    return value + error if k >= SMALL else value


@kernel
def log_probability(k: float, mean: float, size: float, terms: F64) -> float:
    """Log probability of a count under a positive mean; `terms` of `size_terms`."""
    value = _relative(k, mean, size, terms)
    if k < SMALL:
        return float(value + terms[int(k)])
    return value + 0.5 * math.log(size / (2 * math.pi * k * (k + size)))


@kernel
def probabilities(
    k_N: F64,
    mean_N: F64,
    n: int,
    size: float,
    terms: F64,
    point_N: F64,
    below_N: F64,
    above_N: F64,
) -> None:
    """Of the first n counts: P(X = k), P(X <= k) and P(X > k).

    Args:
        k_N: counts, whole numbers from 0.
        mean_N: positive means.
        n: how many, at most 32.
        size: one over the dispersion, for all; terms: of `size_terms`.
        point_N, below_N, above_N: the answers.
    """
    a, b, root = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    x, skew, exponent = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for i in range(n):
        k, mean = k_N[i], mean_N[i]
        exponent[i] = _relative(k, mean, size, terms)
        root[i] = math.sqrt(size / (2 * math.pi * max(k, 1.0) * (k + size)))
        upper = k + 1.0 >= mean
        a[i] = k + 1.0 if upper else size
        b[i] = size if upper else k + 1.0
        x[i] = (mean if upper else size) / (size + mean)
        skew[i] = abs(size * (k + 1.0 - mean)) / (size + mean)
    _fractions(a, b, x, skew, n, below_N)
    for i in range(n):
        k, mean = k_N[i], mean_N[i]
        if k < SMALL:
            exponent[i] += terms[int(k)]
            root[i] = 1.0
        point_N[i] = root[i] * math.exp(exponent[i])
        tail = below_N[i] * (k + size) * (mean / (size + mean))
        if exponent[i] > _FAR:
            tail *= point_N[i]
        else:
            # A tail of many counts may be a number where the probability of one is none.
            tail = math.exp(exponent[i] + math.log(tail * root[i]))
        below_N[i], above_N[i] = (1.0 - tail, tail) if k + 1.0 >= mean else (tail, 1.0 - tail)


@kernel
def _fractions(a_N: F64, b_N: F64, x_N: F64, skew_N: F64, n: int, value_N: F64) -> None:
    """The continued fraction of I_x(a, b) B(a, b) / (x^a (1 - x)^b), for x below a / (a + b).

    `skew_N` is a - (a + b) x. Steed's way from the first term on, all lanes until the last is
    there.
    """
    inverse, change, before = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for i in range(n):
        before[i] = 1.0 / (a_N[i] + 1.0)
        inverse[i] = 1.0 / (a_N[i] * before[i] * (skew_N[i] + 1.0))
        change[i] = inverse[i]
        value_N[i] = inverse[i]
    for m in range(1, _TERMS):
        for i in range(n):
            a, b, x = a_N[i], b_N[i], x_N[i]
            less = before[i]
            share = m * (b - m) * x * less
            alpha = (a + m - 1.0) * less * (a + b + m - 1.0) * x * share
            more = 1.0 / (a + 2.0 * m + 1.0)
            beta = m + share + (a + m) * more * (skew_N[i] + 1.0 + m * (2.0 - x))
            inverse[i] = 1.0 / (beta + alpha * inverse[i])
            change[i] *= beta * inverse[i] - 1.0
            value_N[i] += change[i]
            before[i] = more
        if m % 4 == 0:
            done = True
            for i in range(n):
                if abs(change[i]) > _EPS * abs(value_N[i]):
                    done = False
                    break
            if done:
                return
