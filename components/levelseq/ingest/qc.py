"""Quality of single observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

__all__ = ["QC_COLUMNS", "quality"]

QC_COLUMNS = ("n_counts", "n_genes", "pct_mito")

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def quality(counts_SG: sp.csr_matrix, mito_G: Mask) -> dict[str, np.ndarray[Any, Any]]:
    """QC of samples x genes, over all genes that the deposit delivers.

    Returns:
        n_counts (S,) int64; n_genes (S,) int32, genes with a count; pct_mito (S,) float32, percent
        of the counts, NaN where no mitochondrial gene is named or nothing was counted.
    """
    n_counts = np.asarray(counts_SG.sum(axis=1, dtype=np.int64)).ravel()
    mito = np.asarray(counts_SG[:, mito_G].sum(axis=1, dtype=np.int64)).ravel()
    pct = np.full(len(n_counts), np.nan, dtype=np.float32)
    if mito_G.any():
        np.divide(100 * mito, n_counts, out=pct, where=n_counts > 0, casting="unsafe")
    n_genes = np.diff(counts_SG.indptr).astype(np.int32)
    return {"n_counts": n_counts, "n_genes": n_genes, "pct_mito": pct}
