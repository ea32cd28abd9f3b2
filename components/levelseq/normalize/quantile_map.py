"""Counts from one negative binomial distribution to the same quantile of another.

As sva's `match_quantiles`: a count y above one becomes 1 + Q(P(y - 1)), with P of the old and Q
the quantile function of the new distribution, and stays where P is within 1e-4 of one. R finds
Q by steps of its `pnbinom`; here a normal approximation starts close by, continued fractions give
the probability there and sums of probabilities walk to the count, many samples at once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.fast_log import fast_log
from levelseq.normalize.negative_binomial_tail import LANES, probabilities

__all__ = ["map_quantiles"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_EPS = 2.220446049250313e-16
_LEFT_FUZZ = 8 * _EPS
"""R's `qnbinom` takes this part off a probability before it looks for it."""
_NEAR_ONE = 1e-4
_WALK = 48
_PASSES = 60
_SUBNORMAL = 1e-290


@kernel
def _start(y: float, old: float, new: float, shape_old: float, shape_new: float) -> float:
    """A count near the answer: gamma distributions by Wilson & Hilferty's cube root."""
    if min(shape_old, shape_new) < 0.3:
        return math.floor((y - 0.5) * new / old)
    score = math.exp(fast_log((y - 0.5) / old) / 3.0) - 1.0 + 1.0 / (9.0 * shape_old)
    score *= math.sqrt(shape_old / shape_new)
    root = max(1.0 - 1.0 / (9.0 * shape_new) + score, 0.0)
    return max(math.ceil(new * root * root * root - 0.5), 0.0)


@kernel
def _distance(
    k: float, mean: float, size: float, target: float, point: float, below: float
) -> float:
    """About how far from k the quantile is, as if probabilities rose by a fixed factor."""
    gap = (target - below) / point
    slope = math.log((k + size) / (k + 1.0) * (mean / (size + mean)))
    grown = gap * slope
    if abs(grown) < 1e-6:
        return gap
    if grown > -0.9:
        return math.log1p(grown) / slope
    return math.log(target / below) / slope if slope > 0.0 else math.inf


@kernel
def _walk(k: float, mean: float, size: float, target: float, point: float, below: float) -> float:
    """The least count whose probability reaches the target, from one close by; -1: too far."""
    odds = mean / (size + mean)
    for _ in range(4 * _WALK):
        if below < target:
            k += 1.0
            point *= (k - 1.0 + size) / k * odds
            below += point
            if below >= target:
                return k
        elif k > 0.0 and below - point >= target:
            below -= point
            point *= k / ((k - 1.0 + size) * odds)
            k -= 1.0
        else:
            return k
    return -1.0


@kernel
def _quantiles(
    k_N: F64, mean_N: F64, target_N: F64, place_N: Int, n: int, size: float, terms: F64, out: F64
) -> None:
    """Into `out[place]`, one more than the least count that reaches each target; from k on."""
    point, below, above = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    low, high = np.full(LANES, -1.0), np.full(LANES, np.inf)
    for _ in range(_PASSES):
        probabilities(k_N, mean_N, n, size, terms, point, below, above)
        left = 0
        for i in range(n):
            k, mean, target = k_N[i], mean_N[i], target_N[i]
            least, most = low[i], high[i]
            if below[i] >= target:
                most = k
            else:
                least = k
            step = math.inf
            if point[i] > 0.0:
                step = _distance(k, mean, size, target, point[i], below[i])
            if abs(step) <= _WALK and target > max(0.25 * below[i], _SUBNORMAL):
                found = _walk(k, mean, size, target, point[i], below[i])
                if found >= 0.0:
                    out[place_N[i]] = 1.0 + found
                    continue
            if most - least <= 1.0:
                out[place_N[i]] = 1.0 + most
                continue
            k = math.floor(k + step) if abs(step) < 1e15 else math.nan
            if not least < k < most:
                k = math.floor(0.5 * (max(least, 0.0) + most)) if most < 1e300 else 2 * least + 16
            k_N[left], mean_N[left], target_N[left] = k, mean, target
            place_N[left], low[left], high[left] = place_N[i], least, most
            left += 1
        n = left
        if n == 0:
            return
    for i in range(n):
        out[place_N[i]] = 1.0 + k_N[i]


@kernel
def map_quantiles(
    y_S: F64,
    old_S: F64,
    new_S: F64,
    size_old: float,
    size_new: float,
    terms_old: F64,
    terms_new: F64,
    out: F64,
) -> None:
    """Counts of some samples brought from one distribution to another.

    Args:
        y_S: counts.
        old_S, new_S: means before and after.
        size_old, size_new: one over their dispersions; terms_old, terms_new: of `size_terms`.
        out: the answer.
    """
    k, mean, old = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    target = np.empty(LANES)
    place = np.empty(LANES, dtype=np.int64)
    point, below, above = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    n = 0
    for j in range(len(y_S)):
        out[j] = y_S[j]
        if y_S[j] > 1.0 and old_S[j] > 0.0:
            k[n], old[n], place[n] = y_S[j] - 1.0, old_S[j], j
            n += 1
        if n < LANES and j + 1 < len(y_S):
            continue
        probabilities(k, old, n, size_old, terms_old, point, below, above)
        left = 0
        for i in range(n):
            if abs(below[i] - 1.0) < _NEAR_ONE:
                continue
            j_i = place[i]
            if below[i] == 0.0 or new_S[j_i] == 0.0:
                out[j_i] = 1.0
                continue
            new = new_S[j_i]
            shape_old = 1.0 / (1.0 / old[i] + 1.0 / size_old)
            shape_new = 1.0 / (1.0 / new + 1.0 / size_new)
            k[left] = _start(y_S[j_i], old[i], new, shape_old, shape_new)
            mean[left], place[left] = new, j_i
            target[left] = below[i] * (1.0 - _LEFT_FUZZ)
            left += 1
        _quantiles(k, mean, target, place, left, size_new, terms_new, out)
        n = 0
