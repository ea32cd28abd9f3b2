"""Common and tagwise dispersions of edgeR: `estimateGLMCommonDisp`, `estimateGLMTagwiseDisp`.

The common dispersion maximizes the sum over genes of the adjusted profile likelihood; its search
asks for that sum some fifteen times, each one pass over the genes. The tagwise one (with
`prior.df=0`) needs a gene's own row alone. (McCarthy, Chen & Smyth 2012, Nucleic Acids Research
40:4288; the search is Brent's, 1973, as in R's `optimize`.)
"""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.design_layout import Layout
from levelseq.normalize.profile_likelihood import cell_likelihoods, damped_likelihoods
from levelseq.normalize.profile_likelihood_literal import literal_likelihoods, log_gamma_table

__all__ = ["Profile", "common_search", "maximize", "maximum_of_spline", "tagwise"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

LEAST_COUNTS = 5
"""Genes with fewer counts in all have no say, and get the common dispersion."""

_LOWEST, _HIGHEST, _TOLERANCE = 0.0, 4.0**0.25, 1e-5
_GRID = np.linspace(-6.0, 6.0, 11)
LITERAL_BELOW = 1e-3
"""A common dispersion below is searched anew with edgeR's rounding errors, which decide there."""
_TABLE = 4096


class Profile:
    """The profile likelihoods of genes in the samples of one batch.

    Args:
        design: the layout of these samples.
        order_S: the places of all samples before they were ordered by batch and layout.
        samples: the first of the batch's and the one after its last, in that order.
        library_S: library sizes of all samples, in that order.
        enough_G: which genes have enough counts in the batch to say anything.

    Attributes:
        literal: with edgeR's rounding errors; for one-way layouts only.
    """

    def __init__(
        self,
        design: Layout,
        order_S: Int,
        samples: tuple[int, int],
        library_S: F64,
        enough_G: Bool,
    ) -> None:
        self.design, self.samples, self.library_S, self.enough_G = (
            design,
            samples,
            library_S,
            enough_G,
        )
        self.literal = False
        self._given_S = np.argsort(order_S[samples[0] : samples[1]]).astype(np.int64)
        self._offset_S = np.array([math.log(size) for size in library_S])
        shape = len(enough_G), len(design.rows_CK) if design.one_way else 0
        self._beta_GC, self._centre_GC = np.full(shape, np.nan), np.full(shape, np.nan)
        self._fixed_GC = np.zeros(shape)
        self._tables: dict[float, F64] = {}

    @property
    def may_be_literal(self) -> bool:
        """Whether it is not yet, and the layout is one-way."""
        return self.design.one_way and not self.literal

    def at(self, y_gS: F64, genes: slice, dispersion: float) -> F64:
        """(g,): likelihoods of a block of genes; 0 without enough counts.

        Args:
            y_gS: their counts in all samples.
            genes: their places among all.
            dispersion: where to evaluate.
        """
        design, value_g = self.design, np.empty(len(y_gS))
        phi_g = np.where(self.enough_G[genes], dispersion, np.nan)
        cells = design.rows_CK, design.start_C1
        if self.literal:
            where = y_gS, self._offset_S, self.samples, self._given_S, *cells
            literal_likelihoods(*where, phi_g, self._table(dispersion), value_g)
        elif design.one_way:
            means = self._beta_GC[genes], self._centre_GC[genes], self._fixed_GC[genes]
            where_to = y_gS, self.library_S, self.samples, *cells
            cell_likelihoods(*where_to, phi_g, *means, value_g)
        else:
            where_to = y_gS, self.library_S, self.samples, *cells
            damped_likelihoods(*where_to, design.null_K, phi_g, value_g)
        return value_g

    def _table(self, dispersion: float) -> F64:
        """Of the last dispersions asked for; threads that meet here compute the same."""
        known = self._tables.get(dispersion)
        if known is None:
            known = np.empty((2, _TABLE))
            log_gamma_table(1.0 / dispersion, known)
            self._tables = {dispersion: known}
        return known


def common_search() -> Generator[float, float, float]:
    """The search for the common dispersion.

    Yields dispersions, and is sent the sum over genes of the likelihood at each; returns the
    dispersion, as edgeR's `dispCoxReid` (on the scale of its fourth root, between 0 and 4).
    """
    search = maximize(_LOWEST, _HIGHEST, _TOLERANCE)
    root = next(search)
    while True:
        value = yield math.pow(root, 4.0)
        try:
            root = search.send(value)
        except StopIteration as found:
            return math.pow(found.value, 4.0)


def maximize(low: float, high: float, tolerance: float) -> Generator[float, float, float]:
    """Where a function of one number is largest, between bounds.

    Yields where to evaluate it and is sent its value. Brent's golden section and parabolas with
    the starting point and stopping rule of R's `optimize(maximum=TRUE)`.
    """
    golden, precision = (3 - math.sqrt(5)) * 0.5, math.sqrt(np.finfo(float).eps)
    x = second = third = low + golden * (high - low)
    step = previous = 0.0
    f_x = f_second = f_third = -(yield x)
    while True:
        middle = (low + high) * 0.5
        least = precision * abs(x) + tolerance / 3
        if abs(x - middle) <= 2 * least - (high - low) * 0.5:
            return x
        p = q = 0.0
        before = previous
        if abs(previous) > least:
            r = (x - second) * (f_x - f_third)
            q = (x - third) * (f_x - f_second)
            p = (x - third) * q - (x - second) * r
            q = (q - r) * 2
            p, q = (-p, q) if q > 0 else (p, -q)
            previous = step
        else:
            before = 0.0
        if abs(p) >= abs(q * 0.5 * before) or p <= q * (low - x) or p >= q * (high - x):
            previous = high - x if x < middle else low - x
            step = golden * previous
        else:
            step = p / q
            u = x + step
            if u - low < 2 * least or high - u < 2 * least:
                step = least if x < middle else -least
        u = x + (step if abs(step) >= least else math.copysign(least, step))
        f_u = -(yield u)
        if f_u <= f_x:
            low, high = (low, x) if u < x else (x, high)
            third, second, x = second, x, u
            f_third, f_second, f_x = f_second, f_x, f_u
            continue
        low, high = (u, high) if u < x else (low, u)
        if f_u <= f_second or second == x:
            third, second, f_third, f_second = second, u, f_second, f_u
        elif f_u <= f_third or third in (x, second):
            third, f_third = u, f_u


def tagwise(profile: Profile, y_gS: F64, genes: slice, common: float) -> F64:
    """(g,): each gene's own dispersion: the top of a spline through its likelihood.

    The likelihood is taken at `common` times 2^-6 to 2^6. A gene without enough counts gets
    `common`. As `estimateGLMTagwiseDisp(prior.df=0)`; arguments as for `Profile.at`.
    """
    value_gN = np.stack([profile.at(y_gS, genes, common * 2.0**power) for power in _GRID], axis=1)
    top_g = np.empty(len(y_gS))
    maximum_of_spline(_GRID, np.ascontiguousarray(value_gN), top_g)
    return np.asarray(np.where(profile.enough_G[genes], common * 2.0**top_g, common))


@kernel
def maximum_of_spline(x_N: F64, y_GN: F64, top_G: F64) -> None:
    """Where each row's cubic spline is largest, beside its largest knot.

    Interpolating splines of Forsythe, Malcolm & Moler (1977), whose third derivative at the ends
    is that of the cubic through the four last points; four knots at least.
    """
    n = len(x_N)
    width, slope = np.empty(n), np.empty(n)
    diagonal, c = np.empty(n), np.empty(n)
    for i in range(n - 1):
        width[i] = x_N[i + 1] - x_N[i]
    for g in range(len(y_GN)):
        y = y_GN[g]
        for i in range(n - 1):
            slope[i] = (y[i + 1] - y[i]) / width[i]
        _second_derivatives(x_N, width, slope, diagonal, c)
        best = 0
        for i in range(1, n):
            if y[i] > y[best]:
                best = i
        highest, top_G[g] = y[best], x_N[best]
        for left in range(max(best - 1, 0), min(best + 1, n - 1)):
            # c holds a sixth of the second derivative: y + s (b + s (3 c + s d)) from the left.
            b = slope[left] - width[left] * (c[left + 1] + 2 * c[left])
            d = (c[left + 1] - c[left]) / width[left]
            back = 4 * (9 * c[left] * c[left] - 3 * d * b)
            if back < 0:
                continue
            s = (-6 * c[left] - math.sqrt(back)) / (6 * d)
            value = y[left] + s * (b + s * (3 * c[left] + s * d))
            if 0 < s < width[left] and value > highest:
                highest, top_G[g] = value, x_N[left] + s


@kernel
def _second_derivatives(x_N: F64, width: F64, slope: F64, diagonal: F64, c: F64) -> None:
    """A sixth of the spline's second derivative at each knot, by elimination."""
    n = len(x_N)
    last = n - 1
    diagonal[0], diagonal[last] = -width[0], -width[n - 2]
    for i in range(1, last):
        diagonal[i] = 2 * (width[i - 1] + width[i])
        c[i] = slope[i] - slope[i - 1]
    c[0] = c[2] / (x_N[3] - x_N[1]) - c[1] / (x_N[2] - x_N[0])
    c[last] = c[n - 2] / (x_N[last] - x_N[n - 3]) - c[n - 3] / (x_N[n - 2] - x_N[n - 4])
    c[0] *= width[0] * width[0] / (x_N[3] - x_N[0])
    c[last] *= -width[n - 2] * width[n - 2] / (x_N[last] - x_N[n - 4])
    for i in range(1, n):
        ratio = width[i - 1] / diagonal[i - 1]
        diagonal[i] -= ratio * width[i - 1]
        c[i] -= ratio * c[i - 1]
    c[last] /= diagonal[last]
    for i in range(n - 2, -1, -1):
        c[i] = (c[i] - width[i] * c[i + 1]) / diagonal[i]
