"""Rows of several cohorts in one gene space, in memory: what a fine-tune reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from levelseq.cohort.loader import GeneCounts

__all__ = ["JointCounts"]


class JointCounts:
    """Chosen rows of `GeneCounts` of one gene space, one cohort after another.

    Attributes:
        size_factors: (n,) as the cohorts have them.
        measured: (genes,) whether every cohort measured the gene.
        shape: rows and genes.
        arrays: counts, genes and where each row starts, as in CSR.
    """

    def __init__(self, parts: list[tuple[GeneCounts, Any]]) -> None:
        whole = sp.vstack([counts.rows(rows) for counts, rows in parts]).tocsr()
        self._counts = whole
        starts, genes = whole.indptr.astype(np.int64), whole.indices.astype(np.int32)
        self.arrays = whole.data, genes, starts
        self.size_factors = np.concatenate([counts.size_factors[rows] for counts, rows in parts])
        self.measured = np.logical_and.reduce([counts.measured for counts, _ in parts])
        self.shape = self._counts.shape

    def rows(self, observations: Any) -> sp.csr_matrix:
        """(observations, genes) counts as float32 CSR."""
        rows: sp.csr_matrix = self._counts[observations]
        return rows
