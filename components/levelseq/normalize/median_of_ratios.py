"""Size factors by the median of ratios to the geometric mean: DESeq2's `type="ratio"`.

Passes over the data: one to fit, one to apply. Memory: a vector of genes and a block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunks, Matrix, dense_rows, in_memory

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The frozen reference: log geometric means (G,), -inf for a gene with a zero."""

    log_geometric_mean_G: F64


def fit(x_SG: Matrix, samples: Sequence[str] | None = None) -> State:
    """Log geometric mean of each gene over the samples.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        samples: names for messages.

    Raises:
        BadInput: a sample without counts, or no gene that is positive in all samples.

    Follows `DESeq2::estimateSizeFactorsForMatrix(type="ratio")` (Anders & Huber 2010).
    """
    return fit_streamed(in_memory(x_SG, samples))


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Size factors (S,) of samples against the frozen reference.

    On the samples of the fit this is DESeq2's answer. A new sample gets the median, over the
    reference genes that it has counts of, of its count over the reference's geometric mean.

    Raises:
        BadInput: a sample has no counts of any reference gene.
    """
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(chunks: Chunks) -> State:
    """As `fit`, in one pass over chunks; stops at once when no gene can be left."""
    total_G: F64 | None = None
    n = 0
    for chunk in chunks():
        for rows, x_SG in dense_rows(chunk.x_SG):
            if not x_SG.any(axis=1).all():
                empty = rows.start + int(np.argmin(x_SG.any(axis=1)))
                raise BadInput("has no counts", where=f"sample {chunk.samples[empty]}", do=_EMPTY)
            with np.errstate(divide="ignore"):
                log_sum_G = np.log(x_SG).sum(axis=0)
            total_G = log_sum_G if total_G is None else total_G + log_sum_G
            n += len(x_SG)
            if np.isneginf(total_G).all():
                raise BadInput(
                    "every gene has a zero in some sample, so no gene has a geometric mean",
                    where="median_of_ratios",
                    do="use tmm for bulk samples, log1p_cpm for single cells",
                )
    if total_G is None:
        raise BadInput("there are no samples", where="median_of_ratios")
    return State(total_G / n)


_EMPTY = "leave the sample out"


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    reference = np.flatnonzero(np.isfinite(state.log_geometric_mean_G))
    log_mean = state.log_geometric_mean_G[reference]
    factors: list[float] = []
    for chunk in chunks():
        for rows, x_SG in dense_rows(chunk.x_SG[:, reference]):
            for i, x_G in enumerate(x_SG):
                positive = x_G > 0
                if not positive.any():
                    raise BadInput(
                        "has no counts of any gene that the size factors rest on",
                        where=f"sample {chunk.samples[rows.start + i]}",
                        do=_EMPTY,
                    )
                ratio = np.log(x_G[positive]) - log_mean[positive]
                factors.append(float(np.exp(np.median(ratio))))
    return np.array(factors)
