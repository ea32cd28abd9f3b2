"""Compiled parts of loess: the local polynomials, as value and slope at given places."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel

__all__ = ["fit_at"]

F64 = NDArray[np.float64]

_SINGULAR = 100 * 2.220446049250313e-16
_SAFE_PIVOT = 1e-3


@kernel
def _pseudo_solve(r: F64, z: F64, out: F64) -> None:
    """Least-norm solution of r out = z by one-sided Jacobi rotations; `r` is overwritten."""
    k = len(z)
    v = np.zeros((k, k))
    for j in range(k):
        v[j, j] = 1.0
    for _ in range(60):
        turned = False
        for a in range(k - 1):
            for b in range(a + 1, k):
                aa = bb = ab = 0.0
                for i in range(k):
                    aa += r[i, a] * r[i, a]
                    bb += r[i, b] * r[i, b]
                    ab += r[i, a] * r[i, b]
                if ab == 0.0 or abs(ab) <= 1e-17 * math.sqrt(aa * bb):
                    continue
                turned = True
                zeta = (bb - aa) / (2.0 * ab)
                t = 1.0 / (abs(zeta) + math.sqrt(1.0 + zeta * zeta))
                if zeta < 0:
                    t = -t
                c = 1.0 / math.sqrt(1.0 + t * t)
                s = c * t
                for i in range(k):
                    r[i, a], r[i, b] = c * r[i, a] - s * r[i, b], s * r[i, a] + c * r[i, b]
                    v[i, a], v[i, b] = c * v[i, a] - s * v[i, b], s * v[i, a] + c * v[i, b]
        if not turned:
            break
    square = np.zeros(k)
    for j in range(k):
        for i in range(k):
            square[j] += r[i, j] * r[i, j]
    greatest = 0.0
    for j in range(k):
        greatest = max(greatest, square[j])
    least = math.sqrt(greatest) * _SINGULAR
    out[:] = 0.0
    for j in range(k):
        if math.sqrt(square[j]) <= least:
            continue
        uz = 0.0
        for i in range(k):
            uz += r[i, j] * z[i]
        for i in range(k):
            out[i] += v[i, j] * uz / square[j]


@kernel
def _quick_fit(x: F64, y: F64, weight: F64, at: float, radius: float, out: F64) -> bool:
    """The local polynomial by its normal equations; False where they would lose digits."""
    k = len(out)
    s0 = s1 = s2 = s3 = s4 = t0 = t1 = t2 = 0.0
    for i in range(len(x)):
        h = (x[i] - at) / radius
        u = abs(h)
        if u < 1.0:
            part = 1.0 - u * u * u
            w = part * part * part * weight[i]
            wh, wy = w * h, w * y[i]
            whh = wh * h
            s0 += w
            s1 += wh
            s2 += whh
            s3 += whh * h
            s4 += whh * h * h
            t0 += wy
            t1 += wy * h
            t2 += wy * h * h
    if s0 == 0.0 or s2 == 0.0:
        return False
    moments = (s0, s1, s2, s3, s4)
    totals = (t0, t1, t2)
    # Cholesky's factor of the equations, columns brought to length one.
    r, z = np.zeros((k, k)), np.empty(k)
    for i in range(k):
        size = math.sqrt(moments[2 * i])
        for j in range(i, k):
            value = moments[i + j] / size / math.sqrt(moments[2 * j])
            for m in range(i):
                value -= r[m, i] * r[m, j]
            if i == j:
                if value < _SAFE_PIVOT:
                    return False
                r[i, i] = math.sqrt(value)
            else:
                r[i, j] = value / r[i, i]
        z[i] = totals[i] / size
        for m in range(i):
            z[i] -= r[m, i] * z[m]
        z[i] /= r[i, i]
    for i in range(k - 1, -1, -1):
        for j in range(i + 1, k):
            z[i] -= r[i, j] * z[j]
        z[i] /= r[i, i]
    for i in range(k):
        out[i] = z[i] / math.sqrt(moments[2 * i]) / radius**i
    return True


@kernel
def _dot(a: F64, b: F64) -> float:
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@kernel
def _take(a: F64, times: float, b: F64) -> None:
    """Take `times` b from a."""
    for i in range(len(a)):
        a[i] -= times * b[i]


@kernel
def _to_unit(a: F64) -> float:
    """Divide by the length, where there is one, and give it."""
    length = math.sqrt(_dot(a, a))
    for i in range(len(a) if length > 0.0 else 0):
        a[i] /= length
    return length


@kernel
def _careful_fit(x: F64, y: F64, weight: F64, at: float, square_radius: float, out: F64) -> None:
    """The local polynomial by least squares, of least norm where points do not determine it.

    Columns are brought to length one before, and directions with a singular value below 100
    machine epsilons are left out, which decides what few distinct points give.
    """
    n, k = len(x), len(out)
    q, scale = np.zeros((k + 1, n)), np.empty(k)
    for i in range(n):
        away = x[i] - at
        if away * away < square_radius:
            u = math.sqrt(away * away / square_radius)
            q[0, i] = math.sqrt((1.0 - u * u * u) ** 3 * weight[i])
        for j in range(1, k):
            q[j, i] = q[j - 1, i] * away
        q[k, i] = q[0, i] * y[i]
    out[:] = 0.0
    total = 0.0
    for i in range(n):
        total += q[0, i]
    if total == 0.0:
        # All at one distance: nothing tells a slope.
        for i in range(n):
            out[0] += y[i] / n
        return
    # Gram-Schmidt on the columns, brought to length one before, with y as the last one.
    r, z = np.zeros((k, k)), np.empty(k)
    for j in range(k):
        scale[j] = _to_unit(q[j])
    for j in range(k):
        r[j, j] = _to_unit(q[j])
        for later in range(j + 1, k):
            r[j, later] = _dot(q[j], q[later])
            _take(q[later], r[j, later], q[j])
        z[j] = _dot(q[j], q[k])
        _take(q[k], z[j], q[j])
    _pseudo_solve(r, z, out)
    for j in range(k):
        if scale[j] > 0.0:
            out[j] /= scale[j]


@kernel
def _mean_in_place(x: F64, y: F64, one: int) -> float:
    """Mean of all points that lie where point `one` does."""
    total, n = 0.0, 0
    first = one
    while first > 0 and x[first - 1] == x[one]:
        first -= 1
    while first + n < len(x) and x[first + n] == x[one]:
        total += y[first + n]
        n += 1
    return total / n


@kernel
def fit_at(
    x: F64,
    y: F64,
    weight: F64,
    nearest: int,
    degree: int,
    vertices: F64,
    values: F64,
    slopes: F64,
) -> None:
    """Value and slope at each vertex of the polynomial that fits the `nearest` points best."""
    coefficients = np.empty(degree + 1)
    start = 0
    for m in range(len(vertices)):
        at = vertices[m]
        while start + nearest < len(x) and abs(x[start + nearest] - at) <= abs(x[start] - at):
            start += 1
        end = start + nearest
        if x[start] == x[end - 1]:
            values[m], slopes[m] = _mean_in_place(x, y, start), 0.0
            continue
        radius = max(abs(x[start] - at), abs(x[end - 1] - at))
        points = x[start:end], y[start:end], weight[start:end]
        if not _quick_fit(*points, at, radius, coefficients):
            _careful_fit(*points, at, radius**2, coefficients)
        values[m] = coefficients[0]
        slopes[m] = coefficients[1] if degree > 0 else 0.0
