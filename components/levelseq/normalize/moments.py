"""Means, centred squares and products of each batch, merged chunk by chunk.

Everything that ComBat needs to know of the values, so that it can be fitted to a cohort in one
pass. The values are read once: a block of rows is summed around its first value, which costs no
more digits than its rows have (the mean of n values lies within n standard deviations of any of
them), and blocks merge by Chan's rule (Chan, Golub & LeVeque 1983).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import blocks, in_threads, kernel

__all__ = ["Moments", "Pieces", "no_spread", "pieces"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

GENE_BLOCK = 1024
_PIECE_ROWS = 1024
_ROUNDING = 1e-13


class Moments:
    """Of B batches, G genes and K covariates.

    Attributes:
        n_B: samples of each batch.
        mean_BG: mean value; mean_BK: mean covariate.
        xx_BG: sum over the batch of (x - mean)^2; zx_BKG and zz_BKK: the same of products.
            Zero to the bit for a gene that has one value throughout a batch.
    """

    def __init__(self, n_batches: int, n_genes: int, n_covariates: int) -> None:
        b, g, k = n_batches, n_genes, n_covariates
        self.n_B = np.zeros(b)
        self.mean_BG = np.zeros((b, g))
        self.mean_BK = np.zeros((b, k))
        self.xx_BG = np.zeros((b, g))
        self.zx_BKG = np.zeros((b, k, g))
        self.zz_BKK = np.zeros((b, k, k))

    def add(self, x_SG: F64, batch_S: NDArray[np.int64], z_SK: F64) -> None:
        """Add dense values of some samples, with the numbers of their batches."""
        x_SG = np.ascontiguousarray(x_SG, dtype=np.float64)
        parts = pieces(batch_S, z_SK)
        n_old_P, step_PK = self._add_samples(parts)

        def work(genes: slice) -> None:
            _add(
                x_SG,
                *parts,
                n_old_P,
                step_PK,
                genes.start,
                genes.stop,
                self.mean_BG,
                self.xx_BG,
                self.zx_BKG,
            )

        in_threads(work, blocks(x_SG.shape[1], GENE_BLOCK))

    def _add_samples(self, parts: Pieces) -> tuple[F64, F64]:
        """Merge numbers of samples and covariates; of each piece what it found before it."""
        n_old_P, step_PK = np.zeros(len(parts.batch_P)), np.zeros_like(parts.mean_PK)
        for p, b in enumerate(parts.batch_P):
            rows = slice(parts.start_P[p], parts.start_P[p + 1])
            n_old, n_new = self.n_B[b], rows.stop - rows.start
            step = parts.mean_PK[p] - self.mean_BK[b]
            n_old_P[p], step_PK[p] = n_old, step
            zc = parts.zc_SK[rows]
            between = n_old * n_new / (n_old + n_new)
            self.zz_BKK[b] += zc.T @ zc + between * np.outer(step, step)
            self.mean_BK[b] += step * (n_new / (n_old + n_new))
            self.n_B[b] += n_new
        return n_old_P, step_PK

    def counts(self) -> F64:
        """(B, 1) or (B, G): values of each gene in each batch."""
        return self.n_B[:, None]

    @property
    def any_missing(self) -> bool:
        """Whether a value is missing."""
        return False

    def effects(self) -> tuple[F64, Bool]:
        """(K, G) effects of the covariates within batches by least squares; whether they exist."""
        zz_KK, zx_KG = self.zz_BKK.sum(axis=0), self.zx_BKG.sum(axis=0)
        effect_KG = np.linalg.solve(zz_KK, zx_KG) if len(zz_KK) else zx_KG
        return effect_KG, np.ones(self.mean_BG.shape[1], dtype=bool)

    def intercepts(self, effect_KG: F64) -> F64:
        """(B, G): mean of each batch where the covariates are zero."""
        return np.asarray(self.mean_BG - self.mean_BK @ effect_KG)

    def residual(self, effect_KG: F64) -> F64:
        """(B, G): sums of squares within each batch that the covariates leave."""
        if not len(effect_KG):
            return self.xx_BG
        zx = np.einsum("kg,bkg->bg", effect_KG, self.zx_BKG)
        zz = np.einsum("kg,bkl,lg->bg", effect_KG, self.zz_BKK, effect_KG, optimize=True)
        return np.asarray(np.maximum(self.xx_BG - 2 * zx + zz, 0.0))

    def uniform_genes(self) -> NDArray[np.bool_]:
        """(B, G): one value in all samples of a batch of two or more, as sva asks.

        Log values of one count differ in their last digits between libraries; that is one value.
        """
        n_B1 = self.n_B[:, None]
        return no_spread(self.xx_BG, self.mean_BG, n_B1) & (n_B1 > 1)


def no_spread(xx: F64, mean: F64, n: F64) -> NDArray[np.bool_]:
    """Whether sums of squares around a mean of n values are no more than rounding."""
    return np.asarray(xx <= n * (_ROUNDING * np.maximum(1.0, np.abs(mean))) ** 2)


class Pieces(NamedTuple):
    """Rows of one batch each, at most some hundred, and their covariates.

    Piece p has the rows order_S[start_P[p] : start_P[p + 1]] and is of batch batch_P[p]. zc_SK
    are the covariates in that order, less the piece's mean_PK.
    """

    order_S: Int
    start_P: Int
    batch_P: Int
    zc_SK: F64
    mean_PK: F64


def pieces(batch_S: NDArray[Any], z_SK: F64) -> Pieces:
    """The samples of a chunk in pieces of one batch; samples of no batch (-1) are left out."""
    batch_S = np.asarray(batch_S, dtype=np.int64)
    order_S = np.argsort(batch_S, kind="stable")
    order_S = order_S[batch_S[order_S] >= 0]
    ordered = batch_S[order_S]
    starts: list[int] = []
    for b in np.unique(ordered):
        first, last = np.searchsorted(ordered, [b, b + 1])
        starts += range(int(first), int(last), _PIECE_ROWS)
    start_P = np.array([*starts, len(order_S)], dtype=np.int64)
    zc_SK = np.asarray(z_SK, dtype=np.float64)[order_S]
    mean_PK = np.zeros((len(starts), zc_SK.shape[1]))
    for p in range(len(starts)):
        rows = slice(start_P[p], start_P[p + 1])
        mean_PK[p] = zc_SK[rows].mean(axis=0)
        zc_SK[rows] -= mean_PK[p]
    return Pieces(order_S, start_P, ordered[start_P[:-1]], zc_SK, mean_PK)


@kernel
def _add(
    x_SG: Any,
    order_S: Any,
    start_P: Any,
    batch_P: Any,
    zc_SK: Any,
    mean_PK: Any,
    n_old_P: Any,
    step_PK: Any,
    low: int,
    high: int,
    mean_BG: Any,
    xx_BG: Any,
    zx_BKG: Any,
) -> None:
    """Sum some genes over all pieces, and merge each piece into its batch's moments."""
    n_covariates, width = zc_SK.shape[1], high - low
    total, squares, product_KG = np.empty(width), np.empty(width), np.empty((n_covariates, width))
    for p in range(len(batch_P)):
        b, n_old, n_new = batch_P[p], n_old_P[p], start_P[p + 1] - start_P[p]
        first = x_SG[order_S[start_P[p]], low:high]
        total[:] = 0.0
        squares[:] = 0.0
        product_KG[:] = 0.0
        for i in range(start_P[p], start_P[p + 1]):
            row = x_SG[order_S[i], low:high]
            for g in range(width):
                d = row[g] - first[g]
                total[g] += d
                squares[g] += d * d
            for k in range(n_covariates):
                z, product = zc_SK[i, k], product_KG[k]
                for g in range(width):
                    product[g] += z * (row[g] - first[g])
        n = n_old + n_new
        between, share = n_old * n_new / n, n_new / n
        mean, xx = mean_BG[b, low:high], xx_BG[b, low:high]
        for g in range(width):
            step = first[g] + total[g] / n_new - mean[g]
            xx[g] += squares[g] - total[g] * total[g] / n_new + between * step * step
            mean[g] += step * share
            total[g] = step
        for k in range(n_covariates):
            zx, z_step = zx_BKG[b, k, low:high], step_PK[p, k]
            for g in range(width):
                zx[g] += product_KG[k, g] + between * z_step * total[g]
