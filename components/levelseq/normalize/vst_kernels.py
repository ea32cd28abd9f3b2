"""Variance stabilized values, one by one, and sums of normalized counts, compiled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.fast_log import fast_log
from levelseq.normalize.power import fused

__all__ = [
    "add_normalized",
    "divide_all",
    "divided",
    "spline",
    "stabilize_local",
    "stabilize_mean",
    "stabilize_parametric",
]

F64 = NDArray[np.float64]

_LN2 = math.log(2.0)
_LN4 = math.log(4.0)
_TABLE = 512
_MANY_GENES = 2048


@kernel
def add_normalized(
    x_SG: F64, size_S: F64, genes: tuple[int, int], sums_2G: F64, highest_2: F64
) -> int:
    """Add samples to the sums of a range of genes.

    Args:
        x_SG: counts.
        size_S: size factors.
        genes: first gene of the range, and the one after its last.
        sums_2G: total of normalized counts, and what rounding lost of it.
        highest_2: greatest normalized count, and greatest count.

    Returns:
        the first row with a count that is not whole, or -1.
    """
    broken = -1
    for s in range(len(x_SG)):
        size = size_S[s]
        most = 0.0
        whole = True
        for g in range(genes[0], genes[1]):
            x = x_SG[s, g]
            whole &= x == math.floor(x)
            most = max(most, x)
            value = x / size
            total = sums_2G[0, g]
            grown = total + value
            part = grown - total
            sums_2G[1, g] += (total - (grown - part)) + (value - part)
            sums_2G[0, g] = grown
        highest_2[0] = max(highest_2[0], most / size)
        highest_2[1] = max(highest_2[1], most)
        if not whole and broken < 0:
            broken = s
    return broken


@kernel
def divided(total: float, lost: float, n: int) -> float:
    """(total + lost) / n, rounded once, as a quotient of R's long doubles."""
    quotient = total / n
    return float(quotient + (fused(-quotient, float(n), total) + lost) / n)


@kernel
def divide_all(sums_2G: F64, n: int, out_G: F64) -> None:
    """Means of genes from their sums."""
    for g in range(len(out_G)):
        out_G[g] = divided(sums_2G[0, g], sums_2G[1, g], n)


@kernel
def stabilize_parametric(x_SG: F64, size_S: F64, c: F64, out_SG: F64) -> None:
    """Values of dense rows from the asymptotic dispersion and the extra Poisson noise.

    A plain loop without branches, which compilers run on whole vectors.
    """
    a, e = c[0], c[1]
    for s in range(len(x_SG)):
        size = size_S[s]
        for g in range(x_SG.shape[1]):
            q = x_SG[s, g] / size
            root = math.sqrt(a * q * (1.0 + e + a * q))
            out_SG[s, g] = fast_log((1.0 + e + 2.0 * a * q + 2.0 * root) / (4.0 * a)) / _LN2


@kernel
def stabilize_mean(x_SG: F64, size_S: F64, alpha: float, out_SG: F64) -> None:
    """Values of dense rows from one dispersion."""
    shift = math.log(alpha) + _LN4
    for s in range(len(x_SG)):
        size = size_S[s]
        for g in range(x_SG.shape[1]):
            z = alpha * (x_SG[s, g] / size)
            out_SG[s, g] = (2.0 * fast_log(math.sqrt(z) + math.sqrt(1.0 + z)) - shift) / _LN2


@kernel
def stabilize_local(x_SG: F64, size_S: F64, c: F64, knots_5N: F64, out_SG: F64) -> None:
    """Values of dense rows by a spline; small counts of a sample share theirs.

    Args:
        x_SG: counts.
        size_S: size factors.
        c: scale, shift, and the end of the spline.
        knots_5N: knots of the spline, its values and coefficients.
        out_SG: written.
    """
    n_genes = x_SG.shape[1]
    n_table = _TABLE if n_genes >= _MANY_GENES else 1
    table = np.empty(n_table)
    for s in range(len(x_SG)):
        size = size_S[s]
        for i in range(n_table):
            table[i] = c[0] * spline(math.asinh(i / size), c[2], knots_5N) + c[1]
        for g in range(n_genes):
            x = x_SG[s, g]
            if x < n_table:
                i = int(x)
                if i == x:
                    out_SG[s, g] = table[i]
                    continue
            out_SG[s, g] = c[0] * spline(math.asinh(x / size), c[2], knots_5N) + c[1]


@kernel
def spline(t: float, end: float, knots_5N: F64) -> float:
    """A cubic spline; beyond its end it goes on straight."""
    x_N = knots_5N[0]
    beyond = t - end
    if beyond > 0:
        t = end
    # Knots are all but evenly spaced: a guess, then a step or two.
    last = len(x_N) - 1
    i = int((t - x_N[0]) / (x_N[last] - x_N[0]) * last)
    i = min(max(i, 0), last)
    while i > 0 and x_N[i] > t:
        i -= 1
    while i < last and x_N[i + 1] < t:
        i += 1
    d = t - x_N[i]
    b, c, e = knots_5N[2, i], knots_5N[3, i], knots_5N[4, i]
    value = knots_5N[1, i] + d * (b + d * (c + d * e))
    if beyond > 0:
        value += beyond * (b + d * (2.0 * c + 3.0 * d * e))
    return float(value)
