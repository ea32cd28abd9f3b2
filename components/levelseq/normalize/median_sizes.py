"""Size factors by the median ratio to the mean sample: scuttle's `medianSizeFactors`.

Passes over the data: two to fit, one to apply. Memory: as median_of_ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunks, Matrix, in_memory
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.gene_ratios import medians
from levelseq.normalize.row_groups import dense_blocks, in_groups, with_rows

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "fitted", "measured"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The frozen reference.

    Attributes:
        mean_G: mean count of each gene (G,).
        mean_median: mean of the fit's median ratios, so that its size factors have mean 1.
    """

    mean_G: F64
    mean_median: float


def fit(x_SG: Matrix, samples: Sequence[str] | None = None) -> State:
    """Mean count of each gene, and the mean of the samples' median ratios to it.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        samples: names for messages.

    Raises:
        BadInput: a sample has no counts in half of the genes, so its size factor would be 0.

    Follows `scuttle::medianSizeFactors` (Amezquita et al. 2020). Where half of a sample's genes
    are 0, scuttle gives size factor 0.
    """
    return fit_streamed(in_memory(x_SG, samples))


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Size factors (S,) of samples against the frozen mean sample.

    On the samples of the fit this is scuttle's answer; a new sample is divided by the same mean.

    Raises:
        BadInput: a sample has no counts in half of the reference's genes.
    """
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(chunks: Chunks) -> State:
    """As `fit`, in two passes over chunks."""
    return fitted(chunks).state


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    return measured(chunks, state).native_S


def fitted(chunks: Chunks) -> Fitted[State]:
    """The state and the size factors of the fit's samples, in two passes."""
    mean_G = _means(chunks)
    if not mean_G.any():
        raise BadInput("no sample has counts", where="median")
    raw_S, library_S = measured(chunks, State(mean_G, 1.0))
    mean_median = float(raw_S.mean())
    return Fitted(State(mean_G, mean_median), raw_S / mean_median, library_S)


def measured(chunks: Chunks, state: State) -> Measured:
    """Size factors and libraries of samples, in one pass."""
    gene_K = np.flatnonzero(state.mean_G)
    middle = medians(chunks, gene_K, state.mean_G[gene_K], zeros=True)
    return Measured((middle.low_S + middle.high_S) / 2 / state.mean_median, middle.library_S)


def _means(chunks: Chunks) -> F64:
    total_G: F64 | None = None
    n = 0
    for chunk in with_rows(chunks):
        x_SG = chunk.x_SG

        def of_group(rows: slice, x_SG: Matrix = x_SG) -> F64:
            sums = [block.sum(axis=0) for _, block in dense_blocks(x_SG, rows)]
            return np.asarray(np.sum(sums, axis=0))

        for part in in_groups(x_SG, of_group):
            total_G = part if total_G is None else total_G + part
        n += x_SG.shape[0]
    if total_G is None:
        raise BadInput("there are no samples", where="median")
    return np.asarray(total_G / n)
