"""What the gates of reference materials are computed from: the control samples' means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.cohort import Cohort, Normalized
from levelseq.normalize.chunks import as_dense
from levelseq.validate.evidence import SAMPLES, column, leaves, variable_genes
from levelseq.validate.gates import Gate, not_evaluated
from levelseq.validate.pseudobulk import Units
from levelseq.validate.reference import NAMES, reference_gates_of

__all__ = ["reference_gates"]


def reference_gates(cohort: Cohort, normalized: Normalized) -> list[Gate]:
    """The gates of a study that names control samples; none of a study that does not.

    A control sample is a reference material in a leaf batch: the mean log expression of its cells
    as people use it, log1p CPM of the counts and the levelled values. Where there are as few
    observations as in bulk each is a sample by itself.
    """
    if cohort.role("control") is None:
        return []
    obs = cohort.obs()
    material = column(obs, cohort.role("control"))
    if material is None or not (material != "").any():
        reason = "The control column names no reference material in this cohort."
        return [not_evaluated(name, reason) for name in NAMES]
    batch, _ = leaves(obs, cohort)
    units = Units.of(batch, material, None, single=len(obs) < SAMPLES)
    genes = variable_genes(cohort, normalized)
    before = _means((_log1p_cpm(shard.X, genes["counts"]) for shard in cohort.shards()), units)
    after = _means((shard.X[:, genes["level"]] for shard in normalized.shards()), units)
    return reference_gates_of(before, after, units.batch_U, units.condition_U)


def _means(values: Iterator[Any], units: Units) -> NDArray[np.float64]:
    """(units, genes): each control sample's mean, one shard in memory at a time."""
    sums: Any = 0.0
    start = 0
    for x_SG in values:
        code = units.code_C[start : start + x_SG.shape[0]]
        rows = np.flatnonzero(code >= 0)
        shape = (len(units.batch_U), x_SG.shape[0])
        member = sp.csr_matrix((np.ones(len(rows)), (code[rows], rows)), shape=shape)
        sums = sums + as_dense(member @ x_SG)
        start += x_SG.shape[0]
    size = np.bincount(units.code_C[units.code_C >= 0], minlength=len(units.batch_U))
    return np.asarray(sums / size[:, None])


def _log1p_cpm(counts: Any, columns: Any) -> sp.csr_matrix:
    matrix = sp.csr_matrix(counts)
    library = np.maximum(np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel(), 1.0)
    return sp.csr_matrix(sp.diags(1e6 / library) @ matrix[:, np.asarray(columns)]).log1p()
