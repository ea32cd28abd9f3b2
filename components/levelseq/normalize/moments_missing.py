"""Moments of a matrix in memory, also where values are missing.

Then each gene counts the samples that have it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Matrix, as_dense, checked, dense_rows, is_sparse
from levelseq.normalize.compiled import blocks, in_threads, kernel
from levelseq.normalize.moments import GENE_BLOCK, Moments, no_spread, pieces

__all__ = ["MissingMoments", "as_matrix", "moments_of", "refuse_infinite"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

_SINGULAR = 1e-10


class MissingMoments(Moments):
    """As `Moments`, of values where NaN is one that is missing.

    Attributes:
        n_BG: values of each gene in each batch; n_B counts samples, whatever they lack.
        z_mean_BKG, zz_BKKG: mean and centred products of the covariates of the samples that have
            a value of the gene.
    """

    def __init__(self, n_batches: int, n_genes: int, n_covariates: int) -> None:
        super().__init__(n_batches, n_genes, n_covariates)
        b, g, k = n_batches, n_genes, n_covariates
        self.n_BG = np.zeros((b, g))
        self.z_mean_BKG = np.zeros((b, k, g))
        self.zz_BKKG = np.zeros((b, k, k, g))

    def add(self, x_SG: F64, batch_S: NDArray[np.int64], z_SK: F64) -> None:
        """Add dense values of some samples, with the numbers of their batches."""
        x_SG = np.ascontiguousarray(x_SG, dtype=np.float64)
        parts = pieces(batch_S, z_SK)
        self._add_samples(parts)

        def work(genes: slice) -> None:
            _add_present(
                x_SG,
                *parts,
                genes.start,
                genes.stop,
                self.n_BG,
                self.mean_BG,
                self.xx_BG,
                self.z_mean_BKG,
                self.zx_BKG,
                self.zz_BKKG,
            )

        in_threads(work, blocks(x_SG.shape[1], GENE_BLOCK))

    def counts(self) -> F64:
        """(B, G): values of each gene in each batch."""
        return self.n_BG

    @property
    def any_missing(self) -> bool:
        """Whether a value is missing, of a gene that is not uniform within a batch."""
        kept = ~self.uniform_genes().any(axis=0)
        return bool((self.n_BG < self.n_B[:, None])[:, kept].any())

    def effects(self) -> tuple[F64, Bool]:
        """(K, G) effects of the covariates within batches; zero where a gene cannot tell them."""
        zz_GKK = np.moveaxis(self.zz_BKKG.sum(axis=0), -1, 0)
        zx_KG = self.zx_BKG.sum(axis=0)
        exist = np.ones(zx_KG.shape[1], dtype=bool)
        if not len(zx_KG):
            return zx_KG, exist
        # In units of what the whole study knows of each covariate.
        scale_K = np.sqrt(np.diagonal(self.zz_BKK.sum(axis=0)))
        unit_GKK = zz_GKK / np.outer(scale_K, scale_K)
        exist = np.linalg.eigvalsh(unit_GKK)[:, 0] > _SINGULAR
        unit_GKK[~exist] = np.eye(len(zx_KG))
        unit_GK = np.where(exist, zx_KG / scale_K[:, None], 0.0).T
        effect_GK = np.linalg.solve(unit_GKK, unit_GK[:, :, None])[:, :, 0] / scale_K
        return np.ascontiguousarray(effect_GK.T), exist

    def intercepts(self, effect_KG: F64) -> F64:
        """(B, G): mean of each batch where the covariates are zero; zero where it has no value."""
        return np.asarray(self.mean_BG - np.einsum("bkg,kg->bg", self.z_mean_BKG, effect_KG))

    def residual(self, effect_KG: F64) -> F64:
        """(B, G): sums of squares within each batch that the covariates leave."""
        zx = np.einsum("kg,bkg->bg", effect_KG, self.zx_BKG)
        zz = np.einsum("kg,bklg,lg->bg", effect_KG, self.zz_BKKG, effect_KG)
        return np.asarray(np.maximum(self.xx_BG - 2 * zx + zz, 0.0))

    def uniform_genes(self) -> NDArray[np.bool_]:
        """(B, G): one value in all samples of a batch of two or more, and none missing, as sva."""
        complete = self.n_BG == self.n_B[:, None]
        flat = no_spread(self.xx_BG, self.mean_BG, self.n_BG)
        return np.asarray(flat & complete & (self.n_B > 1)[:, None])


def moments_of(
    x_SG: Matrix, batch_S: NDArray[np.int64], z_SK: F64, n_batches: int, *, missing: bool = False
) -> Moments:
    """Moments of a matrix in memory; samples of batch -1 have no part.

    Raises:
        BadInput: infinite values, or NaN that is not missing; names the row.
    """
    kind = MissingMoments if missing else Moments
    moments = kind(n_batches, x_SG.shape[1], z_SK.shape[1])
    for rows, block_SG in dense_rows(x_SG):
        moments.add(block_SG, batch_S[rows], z_SK[rows])
    if not np.isfinite(moments.xx_BG).all():
        refuse_infinite(x_SG, missing)
        raise BadInput("values are too large to be squared", where="data")
    return moments


def as_matrix(x_SG: Matrix) -> Matrix:
    """The matrix as array or CSR, without a look at its values.

    Raises:
        BadInput: not two-dimensional, empty, or not numbers.
    """
    matrix: Matrix = x_SG.tocsr() if is_sparse(x_SG) else np.asarray(x_SG)
    if matrix.ndim != 2 or 0 in matrix.shape or matrix.dtype.kind not in "biuf":
        checked(matrix, counts=False)
    return matrix


def refuse_infinite(x_SG: Matrix, missing: bool) -> None:
    """Name the sample with a value that is not finite, unless it is one that is missing.

    Raises:
        BadInput: there is one.
    """
    values = as_dense(x_SG)
    checked(np.where(np.isnan(values), 0.0, values) if missing else values, counts=False)


@kernel
def _add_present(
    x_SG: Any,
    order_S: Any,
    start_P: Any,
    batch_P: Any,
    zc_SK: Any,
    mean_PK: Any,
    low: int,
    high: int,
    n_BG: Any,
    mean_BG: Any,
    xx_BG: Any,
    z_mean_BKG: Any,
    zx_BKG: Any,
    zz_BKKG: Any,
) -> None:
    """Sum the values that are there of some genes over all pieces, and merge piece by piece."""
    K = zc_SK.shape[1]
    z_sum, zx, zz, z_step = np.empty(K), np.empty(K), np.empty((K, K)), np.empty(K)
    for p in range(len(batch_P)):
        b = batch_P[p]
        for g in range(low, high):
            n, first, total, squares = 0, np.nan, 0.0, 0.0
            z_sum[:] = 0.0
            zx[:] = 0.0
            zz[:] = 0.0
            for i in range(start_P[p], start_P[p + 1]):
                value = x_SG[order_S[i], g]
                if np.isnan(value):
                    continue
                if n == 0:
                    first = value
                n += 1
                d = value - first
                total += d
                squares += d * d
                for k in range(K):
                    z_sum[k] += zc_SK[i, k]
                    zx[k] += zc_SK[i, k] * d
                    for j in range(k + 1):
                        zz[k, j] += zc_SK[i, k] * zc_SK[i, j]
            if n == 0:
                continue
            n_old = n_BG[b, g]
            between, share = n_old * n / (n_old + n), n / (n_old + n)
            step = first + total / n - mean_BG[b, g]
            xx_BG[b, g] += squares - total * total / n + between * step * step
            mean_BG[b, g] += step * share
            n_BG[b, g] = n_old + n
            for k in range(K):
                z_step[k] = mean_PK[p, k] + z_sum[k] / n - z_mean_BKG[b, k, g]
                zx_BKG[b, k, g] += zx[k] - z_sum[k] * total / n + between * z_step[k] * step
                for j in range(k + 1):
                    own = zz[k, j] - z_sum[k] * z_sum[j] / n
                    zz_BKKG[b, k, j, g] += own + between * z_step[k] * z_step[j]
                    zz_BKKG[b, j, k, g] = zz_BKKG[b, k, j, g]
            for k in range(K):
                z_mean_BKG[b, k, g] += z_step[k] * share
