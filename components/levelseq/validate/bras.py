"""BRAS: the batch silhouette of Rautenstrauch & Ohler 2025, without compiling.

As `scib_metrics.bras`, which compiles anew for every size of label: half a minute for a dozen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bras"]

F64 = NDArray[np.float64]


def bras(x_CD: NDArray[Any], label_C: NDArray[Any], batch_C: NDArray[Any]) -> float:
    """Mean over labels of 1 - |silhouette of batches|: 1 where batches lie the same way.

    Cosine distance, between batches the mean over all other observations of the label.

    Args:
        x_CD: C cells (observations) x dimensions.
        label_C: label of each observation.
        batch_C: batch of each observation.

    Returns:
        0 to 1; NaN when no label has several batches and more observations than batches.
    """
    unit = np.asarray(x_CD, dtype=np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-300)
    means = []
    for label in np.unique(label_C):
        rows = label_C == label
        names, codes = np.unique(batch_C[rows], return_inverse=True)
        if 1 < len(names) < rows.sum():
            means.append(float((1 - np.abs(_silhouette(unit[rows], codes))).mean()))
    return float(np.mean(means)) if means else float("nan")


def _silhouette(unit_CD: F64, codes_C: NDArray[np.int64]) -> F64:
    """Cosine distances are linear in unit vectors, so sums over a batch need one vector each."""
    size_B = np.bincount(codes_C)
    sum_BD = np.stack([unit_CD[codes_C == b].sum(axis=0) for b in range(len(size_B))])
    own_C = size_B[codes_C]
    to_own = own_C - np.einsum("cd,cd->c", unit_CD, sum_BD[codes_C])
    to_all = len(unit_CD) - unit_CD @ sum_BD.sum(axis=0)
    between = (to_all - to_own) / (len(unit_CD) - own_C)
    within = np.maximum(to_own, 0.0) / np.maximum(own_C - 1, 1)
    widest = np.maximum(within, between)
    width = np.divide(between - within, widest, out=np.zeros_like(within), where=widest > 0)
    return np.asarray(np.where(own_C > 1, width, 0.0))
