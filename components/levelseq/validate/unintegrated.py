"""The two peers of every model: unintegrated principal components, and ComBat's.

Shapes: C cells (observations), G variable genes, D dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from levelseq.normalize import combat
from levelseq.normalize.chunks import as_dense
from levelseq.normalize.design import Design

__all__ = ["DIMENSIONS", "combat_components", "components", "halves", "log_cp10k"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

DIMENSIONS = 30
_SMALL = 500


def log_cp10k(counts_CG: Any, library_C: NDArray[Any]) -> F64:
    """log1p of counts per 10,000, dense.

    Args:
        counts_CG: counts of the variable genes.
        library_C: counts of each observation over all genes.
    """
    scale = 1e4 / np.maximum(np.asarray(library_C, dtype=np.float64), 1.0)
    return np.asarray(np.log1p(as_dense(counts_CG) * scale[:, None]))


def components(x_CG: F64) -> F32:
    """(C, D) principal components of log values, 30 or as many as there are."""
    most = min(x_CG.shape) - 1
    dimensions = max(1, min(DIMENSIONS, most))
    solver = "full" if min(x_CG.shape) <= _SMALL else "arpack"
    fitted = PCA(dimensions, svd_solver=solver, random_state=0).fit_transform(x_CG)
    return np.asarray(fitted, dtype=np.float32)


def combat_components(x_CG: F64, batch_C: NDArray[Any]) -> F32:
    """(C, D) principal components after ComBat (Johnson, Li & Rabinovic 2007) over the batches.

    Raises:
        BadInput: ComBat cannot be fitted to these batches.
    """
    design = Design(np.asarray(batch_C))
    return components(combat.apply(x_CG, design, combat.fit(x_CG, design)))


def halves(
    counts_CG: Any, library_C: NDArray[Any], seed: int
) -> tuple[tuple[Any, NDArray[Any]], tuple[Any, NDArray[Any]]]:
    """The same cells twice, half as deep: each molecule is dealt to one half or the other.

    Returns:
        Of either: counts of the variable genes and libraries over all genes.
    """
    random = np.random.default_rng([seed, 7])
    counts = sp.csr_matrix(counts_CG).astype(np.int64)
    counts.sort_indices()
    rest = np.asarray(library_C, dtype=np.int64) - np.asarray(counts.sum(axis=1)).ravel()
    one, other = counts.copy(), counts.copy()
    one.data = random.binomial(counts.data, 0.5)
    other.data = counts.data - one.data
    others = random.binomial(np.maximum(rest, 0), 0.5)
    library = np.asarray(one.sum(axis=1)).ravel() + others
    whole = np.asarray(counts.sum(axis=1)).ravel() + np.maximum(rest, 0)
    return (one, library), (other, whole - library)
