"""Voom's trend of variance by mean: its points, and the weights that it gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.compiled import kernel
from levelseq.normalize.lowess import lowess

__all__ = ["to_weights", "trend"]

F64 = NDArray[np.float64]

_BUCKETS = 1024
# Roots of standard deviations of rounding are about 1e-8.
_NO_VARIANCE = 1e-6


def trend(log_count_g: F64, root_sd_g: F64, span: float) -> tuple[F64, F64]:
    """The points between which lowess is straight, ascending and without ties.

    Args:
        log_count_g: mean log2 count of the genes that have any.
        root_sd_g: root of their standard deviations beside the design.
        span: of lowess.

    Raises:
        BadInput: fewer than two genes, or no variance.
    """
    if len(log_count_g) < 2:
        raise BadInput(f"{len(log_count_g)} genes have counts, and a trend needs two", where="voom")
    curve = lowess(log_count_g, root_sd_g, span)
    if np.abs(curve.y).max() <= _NO_VARIANCE:
        raise BadInput(
            "most genes do not vary beside the design, so there is no variance to weigh by",
            where="voom",
            do="look for samples that are copies of each other",
        )
    keep = curve.fitted.copy()
    keep[-1] = True
    x, start = np.unique(curve.x[keep], return_index=True)
    y = np.add.reduceat(curve.y[keep], start) / np.diff(np.append(start, keep.sum()))
    # A weight is one over the fourth power, infinite where the trend is down to rounding.
    real = np.abs(y) > _NO_VARIANCE
    return x, np.where(real, y, np.abs(y[real]).min())


@kernel
def to_weights(value_SG: F64, curve_x: F64, curve_y: F64) -> None:
    """Overwrite log2 counts by one over the fourth power of the curve, constant at its ends."""
    last = len(curve_x) - 1
    if last == 0:
        value_SG[:] = 1.0 / curve_y[0] ** 4
        return
    slope = (curve_y[1:] - curve_y[:-1]) / (curve_x[1:] - curve_x[:-1])
    # The piece of the curve is looked up by bucket, which leaves a step or two to go.
    per_unit = _BUCKETS / (curve_x[last] - curve_x[0])
    first = np.zeros(_BUCKETS + 1, dtype=np.int64)
    for b in range(_BUCKETS + 1):
        first[b] = max(np.searchsorted(curve_x, curve_x[0] + (b - 1) / per_unit) - 1, 0)
    for s in range(value_SG.shape[0]):
        for g in range(value_SG.shape[1]):
            v = value_SG[s, g]
            if v <= curve_x[0]:
                y = curve_y[0]
            elif v >= curve_x[last]:
                y = curve_y[last]
            else:
                piece = first[int((v - curve_x[0]) * per_unit)]
                while curve_x[piece + 1] <= v:
                    piece += 1
                y = curve_y[piece] + slope[piece] * (v - curve_x[piece])
            value_SG[s, g] = 1.0 / (y * y * (y * y))
