"""The search for a gene's dispersion on whole vectors, where rounding cannot change its course.

It takes DESeq2's steps with the likelihood in a form whose terms are small and vectorize, and gives
up where a decision is so close that DESeq2's own rounding may have made it: then the literal search
of `dispersion_kernels.py` is to follow.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.dispersion_likelihood import FEW, quick_slope, quick_value
from levelseq.normalize.dispersion_posterior import Design
from levelseq.normalize.kernel_loops import fill

__all__ = ["ARMIJO", "FIRST_STEP", "HIGHEST", "LOWEST", "quick_search"]

F64 = NDArray[np.float64]

ARMIJO = 1e-4
LOWEST, HIGHEST = -30.0, 10.0
FIRST_STEP = 1.0

# Above this size (1 / dispersion) slopes lose the digits that decide where the search ends.
_LARGEST_SIZE = 1e3
# Below this dispersion no grid follows a search, so that it does not matter how long it was.
_TINY = 5e-8
# Decisions closer than this many units in the last place of the largest term are not taken.
_UNITS = 16 * np.finfo(np.float64).eps


@kernel
def quick_search(
    y_S: F64,
    mu_S: F64,
    design: Design,
    start: float,
    prior: tuple[float, float],
    settings: tuple[float, int],
    work_5S: F64,
    out_4: F64,
) -> bool:
    """Climb to a gene's log dispersion; False where that is for the literal search.

    Args:
        y_S: counts; mu_S: their expectations.
        design: of the samples.
        start: log dispersion to start from.
        prior: mean and variance of the log dispersion; a variance of 0: no prior.
        settings: tolerance, most steps.
        work_5S: scratch.
        out_4: log dispersion, steps tried, log posterior at the start, and at the end.
    """
    tolerance, most = settings
    n, highest, sum_of_counts = len(y_S), 0.0, 0.0
    few_K = np.zeros(FEW)
    for s in range(n):
        highest = max(highest, y_S[s])
        sum_of_counts += y_S[s]
        if y_S[s] < FEW:
            few_K[int(y_S[s])] += 1.0
    unit = _UNITS * math.sqrt(n)
    counts = (y_S, mu_S, few_K)
    a = start
    here = quick_value(a, counts, design, prior, work_5S)
    if math.exp(-a) > _LARGEST_SIZE:
        fill(out_4, here - sum_of_counts)
        out_4[0], out_4[1] = a, 0.0
        rounding = unit * (highest + math.exp(-a)) * (1.0 + abs(a))
        limit = abs(out_4[2]) / 1e6 - rounding
        tiny = prior[1] == 0.0 and math.exp(a) < _TINY
        return tiny and _has_no_way(y_S, mu_S, math.exp(a), most, rounding, limit)
    along = quick_slope(a, counts, design, prior, work_5S)
    out_4[2] = here - sum_of_counts
    step, accepted, tried = FIRST_STEP, 0, 0
    while tried < most:
        tried += 1
        proposed = a + step * along
        if proposed < LOWEST:
            step = (LOWEST - a) / along
        if proposed > HIGHEST:
            step = (HIGHEST - a) / along
        new = a + step * along
        largest = highest + max(math.exp(-new), _LARGEST_SIZE)
        margin = unit * largest * math.log(largest)
        there = quick_value(new, counts, design, prior, work_5S)
        gained = there - here - step * ARMIJO * (along * along)
        if not abs(gained) > margin:
            return False
        if gained < 0.0:
            step /= 2.0
            continue
        accepted += 1
        if math.exp(-new) > _LARGEST_SIZE:
            return False
        a = new
        change = there - here
        here = there
        if abs(change - tolerance) < margin:
            return False
        if change < tolerance:
            break
        along = quick_slope(a, counts, design, prior, work_5S)
        step = min(step * 1.1, FIRST_STEP)
        if accepted % 5 == 0:
            step /= 2.0
    out_4[0], out_4[1], out_4[3] = a, tried, here - sum_of_counts
    return True


@kernel
def _has_no_way(
    y_S: F64, mu_S: F64, alpha: float, most: int, rounding: float, limit: float
) -> bool:
    """Whether a search from a tiny dispersion cannot gain as much as counts as a gain.

    The likelihood is all but linear there, with half the excess of squares over counts as its
    slope; steps are no longer than the slope and what rounding makes of it.
    """
    excess, squares, sum_of_means = 0.0, 0.0, 0.0
    for s in range(len(y_S)):
        away = y_S[s] - mu_S[s]
        excess += away * away - y_S[s]
        squares += mu_S[s] * mu_S[s]
        sum_of_means += mu_S[s]
    slope = alpha * 0.5 * (abs(excess) + len(y_S) * squares / sum_of_means) + rounding
    return most * slope < 0.1 and 2.0 * slope * most * slope < limit
