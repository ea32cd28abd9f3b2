"""Means, centred squares and products of each batch, merged chunk by chunk.

Everything that parametric ComBat needs to know of the values, so that it can be fitted to a
cohort in one pass. Chunks merge by Chan's rule (Chan, Golub & LeVeque 1983), which keeps the
digits that sums of squares lose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments"]

F64 = NDArray[np.float64]


class Moments:
    """Of B batches, G genes and K covariates.

    Attributes:
        n_B: samples of each batch.
        mean_BG: mean value; mean_BK: mean covariate.
        xx_BG: sum over the batch of (x - mean)^2; zx_BKG and zz_BKK: the same of products.
        low_BG, high_BG: least and greatest value, which tell a uniform gene without rounding.
    """

    def __init__(self, n_batches: int, n_genes: int, n_covariates: int) -> None:
        b, g, k = n_batches, n_genes, n_covariates
        self.n_B = np.zeros(b)
        self.mean_BG = np.zeros((b, g))
        self.mean_BK = np.zeros((b, k))
        self.xx_BG = np.zeros((b, g))
        self.zx_BKG = np.zeros((b, k, g))
        self.zz_BKK = np.zeros((b, k, k))
        self.low_BG = np.full((b, g), np.inf)
        self.high_BG = np.full((b, g), -np.inf)

    def add(self, x_SG: F64, batch_S: NDArray[np.int64], z_SK: F64) -> None:
        """Add dense values of some samples, with the numbers of their batches."""
        for b in np.unique(batch_S):
            rows = batch_S == b
            self._merge(int(b), x_SG[rows], z_SK[rows])

    def _merge(self, b: int, x_SG: F64, z_SK: F64) -> None:
        n_old, n_new = self.n_B[b], len(x_SG)
        mean_G, mean_K = x_SG.mean(axis=0), z_SK.mean(axis=0)
        xc_SG, zc_SK = x_SG - mean_G, z_SK - mean_K
        n = n_old + n_new
        step_G, step_K = mean_G - self.mean_BG[b], mean_K - self.mean_BK[b]
        between = n_old * n_new / n
        self.xx_BG[b] += np.einsum("sg,sg->g", xc_SG, xc_SG) + between * step_G**2
        self.zx_BKG[b] += zc_SK.T @ xc_SG + between * np.outer(step_K, step_G)
        self.zz_BKK[b] += zc_SK.T @ zc_SK + between * np.outer(step_K, step_K)
        self.mean_BG[b] += step_G * (n_new / n)
        self.mean_BK[b] += step_K * (n_new / n)
        self.n_B[b] = n
        self.low_BG[b] = np.minimum(self.low_BG[b], x_SG.min(axis=0))
        self.high_BG[b] = np.maximum(self.high_BG[b], x_SG.max(axis=0))

    def uniform_genes(self) -> NDArray[np.bool_]:
        """(B, G): one value in all samples of a batch of two or more, as sva asks."""
        varying: NDArray[np.bool_] = self.high_BG > self.low_BG
        return ~varying & (self.n_B > 1)[:, None]
