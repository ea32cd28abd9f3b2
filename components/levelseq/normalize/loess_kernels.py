"""Compiled parts of loess in one predictor: cells, cubics between their ends, counts over them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.loess_local import fit_at

__all__ = ["curve_at", "fit_curve", "without_trend"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_MARGIN = 0.005
_CELL = 0.2


@kernel
def _place_vertices(x: F64, cell: float, vertices: F64) -> int:
    """Ends of the cells of sorted `x`, sorted, into `vertices`; gives their number.

    The cell around all points is cut at its middle point, and its halves again, until a cell
    holds at most `cell` times all points. `vertices` needs room for two more than there are
    points.
    """
    n = len(x)
    most = math.floor(n * cell)
    low, high = x[0], x[n - 1]
    margin = _MARGIN * max(high - low, max(abs(low), abs(high)) * 1e-3 + 1e-30)
    vertices[0], vertices[1] = low - margin, high + margin
    n_vertices = 2
    # Cells that wait: first and last point, left and right end.
    points, ends = np.empty((n + 2, 2), np.int64), np.empty((n + 2, 2))
    points[0, 0], points[0, 1] = 0, n - 1
    ends[0, 0], ends[0, 1] = vertices[0], vertices[1]
    waiting = 1
    while waiting:
        waiting -= 1
        start, end = points[waiting]
        left, right = ends[waiting]
        if end - start + 1 <= most:
            continue
        # The cut is at the middle point, or at the nearest one whose right neighbour is another:
        # looked for as far as both sides reach.
        middle = (start + end) // 2
        last, step = middle, 0
        while start <= middle + step < end:
            if x[middle + step] != x[middle + step + 1]:
                last = middle + step
                break
            step = -step if step > 0 else 1 - step
        cut = x[last]
        if cut in (left, right):
            continue
        place = n_vertices
        while vertices[place - 1] > cut:
            vertices[place] = vertices[place - 1]
            place -= 1
        vertices[place] = cut
        n_vertices += 1
        points[waiting, 0], points[waiting, 1] = last + 1, end
        ends[waiting, 0], ends[waiting, 1] = cut, right
        points[waiting + 1, 0], points[waiting + 1, 1] = start, last
        ends[waiting + 1, 0], ends[waiting + 1, 1] = left, cut
        waiting += 2
    return n_vertices


@kernel
def _evaluate(vertices: F64, values: F64, slopes: F64, at: float) -> float:
    """The cubic between two vertices that has their values and slopes, at a point inside."""
    left, right = 0, len(vertices) - 1
    while right - left > 1:
        middle = (left + right) // 2
        if at > vertices[middle]:
            left = middle
        else:
            right = middle
    width = vertices[right] - vertices[left]
    h = (at - vertices[left]) / width
    value_left, value_right = (1 - h) ** 2 * (1 + 2 * h), h**2 * (3 - 2 * h)
    slope_left, slope_right = h * (1 - h) ** 2, -(h**2) * (1 - h)
    return float(
        value_left * values[left]
        + value_right * values[right]
        + (slope_left * slopes[left] + slope_right * slopes[right]) * width
    )


@kernel
def fit_curve(x: F64, y: F64, weight: F64, span: float, degree: int) -> tuple[F64, F64, F64]:
    """Vertices, values and slopes of the curve of y over sorted x."""
    room = np.empty(len(x) + 2)
    vertices = room[: _place_vertices(x, span * _CELL, room)].copy()
    values, slopes = np.empty(len(vertices)), np.empty(len(vertices))
    nearest = min(len(x), math.floor(len(x) * span + 1e-5))
    fit_at(x, y, weight, nearest, degree, vertices, values, slopes)
    return vertices, values, slopes


@kernel
def curve_at(vertices: F64, values: F64, slopes: F64, at: F64, out: F64) -> None:
    """The curve at points between the first and the last vertex."""
    for i in range(len(at)):
        out[i] = _evaluate(vertices, values, slopes, at[i])


@kernel
def without_trend(
    x_SG: F64,
    feature: F64,
    gene: I64,
    highest_S: F64,
    middle_S2: F64,
    span: float,
    hold_ends: bool,
    out_SG: F64,
) -> NDArray[np.bool_]:
    """Counts over the trend of their logs along the feature; gives which rows could be done.

    `feature` is sorted, and `gene` holds the genes in that order. The trend is fitted to counts
    of at most `highest_S`, whose two middle ones are `middle_S2`.
    """
    n_genes = len(gene)
    at, log_count, weight = np.empty(n_genes), np.empty(n_genes), np.ones(n_genes)
    done_S = np.ones(x_SG.shape[0], np.bool_)
    for s in range(x_SG.shape[0]):
        n = 0
        for i in range(n_genes):
            count = x_SG[s, gene[i]]
            if 0.0 < count <= highest_S[s]:
                at[n], log_count[n] = feature[i], math.log(count)
                n += 1
        if n < 4 or at[0] == at[n - 1]:
            done_S[s] = False
            continue
        vertices, values, slopes = fit_curve(at[:n], log_count[:n], weight[:n], span, 2)
        middle = (math.log(middle_S2[s, 0]) + math.log(middle_S2[s, 1])) / 2.0
        for i in range(n_genes):
            inside = min(max(feature[i], at[0]), at[n - 1])
            trend = 0.0
            if hold_ends or inside == feature[i]:
                trend = _evaluate(vertices, values, slopes, inside)
            out_SG[s, gene[i]] = x_SG[s, gene[i]] / math.exp(trend - middle)
    return done_S
