"""Genes with enough counts in enough samples to be tested: edgeR's `filterByExpr`.

Passes over the data: one to fit. Memory: two vectors of genes and a block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunks, Matrix, dense_rows, in_memory
from levelseq.normalize.cpm import checked_libraries
from levelseq.normalize.linear_model import checked_design, orthogonal

__all__ = ["State", "apply", "fit", "fit_streamed"]

F64 = NDArray[np.float64]

_ROUNDING = 1e-14


@dataclass(frozen=True)
class State:
    """Which genes are kept (G,)."""

    keep_G: NDArray[np.bool_]


def fit(
    x_SG: Matrix,
    library_S: Any = None,
    *,
    group: Any = None,
    design_SK: Any = None,
    min_count: float = 10,
    min_total_count: float = 15,
    large_n: float = 10,
    min_prop: float = 0.7,
    samples: Sequence[str] | None = None,
) -> State:
    """Choose the genes that reach `min_count` in about as many samples as the smallest group has.

    Args:
        x_SG: counts, samples x genes.
        library_S: effective library sizes; None: the row sums.
        group: the group of each sample. Given, the design is not looked at.
        design_SK: a design matrix, whose largest leverage tells the smallest group.
        min_count: count wanted in a sample of the median library, and in proportion in others.
        min_total_count: count wanted in all samples together.
        large_n: of groups larger than this,
        min_prop: this share of the samples beyond is enough.
        samples: names for messages.

    Raises:
        BadInput: not counts, a library that is not positive (names the sample), or a group or
            design that does not match the samples.

    Follows `edgeR::filterByExpr` (Chen, Lun & Smyth 2016).
    """
    chunks = in_memory(x_SG, samples)
    if library_S is None:
        sums = [np.asarray(c.x_SG.sum(axis=1, dtype=np.float64)).ravel() for c in chunks()]
        library_S = np.concatenate(sums)
    checked_libraries(library_S, x_SG.shape[0], samples)
    return fit_streamed(
        chunks,
        library_S,
        group=group,
        design_SK=design_SK,
        min_count=min_count,
        min_total_count=min_total_count,
        large_n=large_n,
        min_prop=min_prop,
    )


def fit_streamed(
    chunks: Chunks,
    library_S: Any,
    *,
    group: Any = None,
    design_SK: Any = None,
    min_count: float = 10,
    min_total_count: float = 15,
    large_n: float = 10,
    min_prop: float = 0.7,
) -> State:
    """As `fit`, in one pass over chunks; libraries, groups and design of all samples in order."""
    library_S = checked_libraries(library_S, None)
    wanted = _smallest_group(len(library_S), group, design_SK)
    if wanted > large_n:
        wanted = large_n + (wanted - large_n) * min_prop
    # In this order of operations a count equals the cutoff where edgeR finds that it does.
    cutoff = min_count / float(np.median(library_S)) * 1e6
    per_count_S = 1e6 / library_S
    reached_G: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    total_G, seen = np.zeros(0), 0
    for chunk in chunks():
        if seen + chunk.x_SG.shape[0] > len(library_S):
            raise BadInput(f"{len(library_S)} libraries for more samples", where="library sizes")
        if not seen:
            reached_G = np.zeros(chunk.x_SG.shape[1], dtype=np.int64)
            total_G = np.zeros(chunk.x_SG.shape[1])
        for rows, x_sG in dense_rows(chunk.x_SG):
            by_s = per_count_S[seen + rows.start : seen + rows.stop]
            reached_G += (x_sG * by_s[:, None] >= cutoff).sum(axis=0)
            total_G += x_sG.sum(axis=0)
        seen += chunk.x_SG.shape[0]
    if seen != len(library_S):
        raise BadInput(f"{len(library_S)} libraries for {seen} samples", where="library sizes")
    return State((reached_G >= wanted - _ROUNDING) & (total_G >= min_total_count - _ROUNDING))


def apply(x_SG: Matrix, state: State) -> Matrix:
    """The kept genes' columns of any matrix of the fit's genes, of the fit's samples or new ones.

    Raises:
        BadInput: other genes than in the fit.
    """
    if x_SG.shape[1] != len(state.keep_G):
        raise BadInput(f"has {x_SG.shape[1]} genes, the fit had {len(state.keep_G)}", where="data")
    return x_SG[:, state.keep_G]


def _smallest_group(n_samples: int, group: Any, design_SK: Any) -> float:
    """Samples in the smallest group, or one over the largest leverage; all where neither is."""
    if group is not None:
        column = pd.Series(np.asarray(group))
        if column.shape != (n_samples,):
            raise BadInput(f"has {len(column)} values for {n_samples} samples", where="group")
        if column.isna().any():
            missing = int(column.isna().sum())
            raise BadInput(f"has no value for {missing} of {n_samples} samples", where="group")
        return float(column.value_counts().min())
    if design_SK is None:
        return float(n_samples)
    # Leverages as R's hat(), which puts an intercept before the design.
    design_SK = np.column_stack([np.ones(n_samples), checked_design(design_SK, n_samples)])
    leverage_S = (orthogonal(design_SK).q_SR ** 2).sum(axis=1)
    return float(1 / leverage_S.max())
