"""Average log2 CPM of each gene: edgeR's `aveLogCPM`.

The mean is that of a negative binomial model fitted by Newton's steps, so a gene's whole row is
needed: `of_genes` takes gene-major blocks, `average_log_cpm` a matrix in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadOption
from levelseq.normalize.chunks import Matrix, as_dense, checked, is_sparse
from levelseq.normalize.compiled import blocks, in_threads, kernel
from levelseq.normalize.cpm import checked_libraries

__all__ = ["average_log_cpm", "of_genes"]

F64 = NDArray[np.float64]

_GENES = 256
_STEPS = 50
_SMALL_STEP = 1e-10


def average_log_cpm(
    x_SG: Matrix,
    library_S: Any,
    *,
    prior_count: float = 2.0,
    dispersion: float = 0.05,
    samples: Sequence[str] | None = None,
) -> F64:
    """Average log2 CPM (G,).

    Args:
        x_SG: counts, samples x genes.
        library_S: effective library sizes.
        prior_count: added to the counts of a sample with the mean library, to the others' in
            proportion.
        dispersion: of the negative binomial, for all genes.
        samples: names for messages.

    Raises:
        BadInput: not counts, or a library that is not positive; names the sample.
        BadOption: a prior count that is not positive, or a negative dispersion.

    Follows `edgeR::aveLogCPM` (McCarthy, Chen & Smyth 2012).
    """
    x_SG = checked(x_SG, samples)
    library_S = checked_libraries(library_S, x_SG.shape[0], samples)
    # Columns of CSR are slow to take, one block after the other.
    x_SG = x_SG.tocsc() if is_sparse(x_SG) else x_SG

    def work(genes: slice) -> F64:
        x_GS = np.ascontiguousarray(as_dense(x_SG[:, genes]).T)
        return of_genes(x_GS, library_S, prior_count=prior_count, dispersion=dispersion)

    return np.concatenate(in_threads(work, blocks(x_SG.shape[1], _GENES)))


def of_genes(
    x_GS: F64, library_S: F64, *, prior_count: float = 2.0, dispersion: float = 0.05
) -> F64:
    """As `average_log_cpm`, of a gene-major block: genes x all samples, C order, checked before."""
    if not prior_count > 0:
        raise BadOption(f"is {prior_count}, and zeros have no logarithm", where="prior_count")
    if not dispersion >= 0:
        raise BadOption(f"is {dispersion}, negative", where="dispersion")
    prior_S = prior_count * library_S / library_S.mean()
    log_mean_G = _log_means(x_GS, library_S + 2 * prior_S, prior_S, float(dispersion))
    return np.asarray((log_mean_G + math.log(1e6)) / math.log(2))


@kernel
def _log_means(x_GS: F64, library_S: F64, prior_S: F64, dispersion: float) -> F64:
    """Log of each gene's share of the libraries, by Fisher scoring from the mean of ratios."""
    n_genes, n_samples = x_GS.shape
    out_G = np.empty(n_genes)
    for g in range(n_genes):
        start = 0.0
        for s in range(n_samples):
            start += (x_GS[g, s] + prior_S[s]) / library_S[s]
        log_share = np.log(start / n_samples)
        for _ in range(_STEPS):
            share = np.exp(log_share)
            score, information = 0.0, 0.0
            for s in range(n_samples):
                mean = share * library_S[s]
                damped = 1 / (1 + mean * dispersion)
                score += (x_GS[g, s] + prior_S[s] - mean) * damped
                information += mean * damped
            step = score / information
            log_share += step
            if abs(step) < _SMALL_STEP:
                break
        out_G[g] = log_share
    return out_G
