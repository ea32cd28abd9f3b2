"""Variable genes, within batches first: streamed moments, then a ranking.

The ranking of `scanpy.pp.highly_variable_genes(flavor="seurat", batch_key=…)` (Satija et al.
2015): log dispersion of counts per ten thousand, standardized among genes of like mean in each
batch; a gene counts for the number of batches in which it is among the first n, then for its
mean standardized dispersion. Scanpy takes the exponent of log values that it rounded before, so
a gene at the edge of a bin of means, or at the n-th place, may come out the other way.

Passes over the data: one. Memory: batches x genes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Matrix
from levelseq.normalize.compiled import kernel

__all__ = ["VariableGenes"]

F64 = NDArray[np.float64]

_TARGET = 1e4
_MEAN_BINS = 20


class VariableGenes:
    """Sums and sums of squares of counts per ten thousand, for each batch.

    Add chunks of counts, then ask for the `ranking`.
    """

    def __init__(self, n_batches: int, n_genes: int) -> None:
        self._n_B = np.zeros(n_batches)
        self._sum_BG = np.zeros((n_batches, n_genes))
        self._squares_BG = np.zeros((n_batches, n_genes))

    def add(self, x_SG: Matrix, batch_S: NDArray[np.int64]) -> None:
        """Add counts (S, G), dense or sparse, with the numbers of their batches."""
        x: Any = sp.csr_matrix(x_SG)
        codes_S = np.asarray(batch_S, dtype=np.int64)
        _add(x.data, x.indices, x.indptr, codes_S, self._sum_BG, self._squares_BG)
        self._n_B += np.bincount(codes_S, minlength=len(self._n_B))

    def ranking(self, n: int) -> NDArray[np.int64]:
        """Numbers of at most `n` genes, the most variable first; fewer when fewer have counts.

        Batches of one sample have no variance and do not vote.

        Raises:
            BadInput: no gene varies in any batch.
        """
        voting = np.flatnonzero(self._n_B > 1)
        n_genes = self._sum_BG.shape[1]
        score_BG = np.full((len(voting), n_genes), np.nan)
        votes_G = np.zeros(n_genes, dtype=np.int64)
        several = len(self._n_B) > 1
        for i, b in enumerate(voting):
            score_BG[i] = self._dispersion(int(b), expressed_only=several)
            votes_G += _among_first(score_BG[i], n)
        seen_BG = self._sum_BG[voting] > 0
        known_G = np.isfinite(score_BG).any(axis=0) & seen_BG.any(axis=0)
        if not known_G.any():
            raise BadInput(
                "no gene varies in any batch", where="variable genes", do="check the counts"
            )
        if several:
            # As in scanpy a gene without counts in a batch has dispersion 0 there.
            score_BG = np.where(seen_BG, score_BG, 0.0)
        score_G = np.full(n_genes, -np.inf)
        score_G[known_G] = np.nanmean(score_BG[:, known_G], axis=0)
        order = np.lexsort((np.arange(n_genes), -score_G, -votes_G))
        return np.asarray(order[known_G[order]][:n])

    def _dispersion(self, b: int, *, expressed_only: bool) -> F64:
        """(G,): standardized log dispersion in one batch, NaN where there is none."""
        n = self._n_B[b]
        mean_G = self._sum_BG[b] / n
        variance_G = np.maximum(self._squares_BG[b] / n - mean_G**2, 0.0) * (n / (n - 1))
        used = np.flatnonzero(mean_G > 0) if expressed_only else np.arange(len(mean_G))
        mean_G = np.maximum(mean_G[used], 1e-12)
        dispersion = variance_G[used] / mean_G
        dispersion[dispersion == 0] = np.nan
        out = np.full(len(variance_G), np.nan)
        out[used] = _standardized(np.log(dispersion), np.log1p(mean_G))
        return out


@kernel
def _add(
    count_N: NDArray[Any],
    gene_N: NDArray[Any],
    start_S: NDArray[Any],
    batch_S: NDArray[np.int64],
    sum_BG: F64,
    squares_BG: F64,
) -> None:
    """Add the rows of a CSR matrix, each to its batch."""
    for s in range(len(batch_S)):
        library = 0.0
        for i in range(start_S[s], start_S[s + 1]):
            library += count_N[i]
        if library == 0.0:
            continue
        per_count, b = _TARGET / library, batch_S[s]
        for i in range(start_S[s], start_S[s + 1]):
            value = count_N[i] * per_count
            sum_BG[b, gene_N[i]] += value
            squares_BG[b, gene_N[i]] += value * value


def _standardized(log_dispersion: F64, log_mean: F64) -> F64:
    """Less the mean, over the deviation, of the genes in the same of 20 bins of means."""
    if len(log_mean) == 0:
        return log_dispersion
    values = pd.Series(log_dispersion)
    bins = values.groupby(pd.cut(pd.Series(log_mean), _MEAN_BINS), observed=True)
    mean, deviation = bins.transform("mean"), bins.transform("std")
    # A gene alone in its bin has no deviation; scanpy and Seurat give it 1.
    alone = deviation.isna()
    deviation, mean = deviation.where(~alone, mean), mean.where(~alone, 0.0)
    return np.asarray((values - mean) / deviation, dtype=np.float64)


def _among_first(score_G: F64, n: int) -> NDArray[np.bool_]:
    """The genes whose score is not below the n-th highest."""
    known = np.sort(score_G[~np.isnan(score_G)])
    if len(known) == 0:
        return np.zeros(len(score_G), dtype=bool)
    cutoff = known[max(0, len(known) - n)]
    return np.asarray(np.nan_to_num(score_G, nan=-np.inf) >= cutoff)
