"""How much of the genes' variance a factor explains, beyond what chance explains."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["variance_explained"]


def variance_explained(x_SG: NDArray[np.float64], factor_S: Any) -> float:
    """Mean over the genes that vary of the adjusted R2 of a one-way layout; below 0 is chance.

    Args:
        x_SG: log values, samples x genes.
        factor_S: the level of each sample.

    Returns:
        NaN where the factor has one level, or as many as there are samples.
    """
    levels, codes = np.unique(np.asarray(factor_S).astype(str), return_inverse=True)
    n, k = len(codes), len(levels)
    if k < 2 or n <= k:
        return float("nan")
    around_SG = x_SG - x_SG.mean(axis=0)
    total_G = np.einsum("sg,sg->g", around_SG, around_SG)
    means_KG = np.stack([around_SG[codes == level].mean(axis=0) for level in range(k)])
    between_G = np.bincount(codes) @ means_KG**2
    varies = total_G > 1e-12 * np.maximum(1.0, np.einsum("sg,sg->g", x_SG, x_SG))
    if not varies.any():
        return float("nan")
    left_G = 1 - between_G[varies] / total_G[varies]
    return float((1 - left_G * (n - 1) / (n - k)).mean())
