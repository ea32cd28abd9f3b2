"""Normalization factors by relative log expression: edgeR's `method="RLE"`.

Passes over the data: two to fit, one to apply. Memory: as median_of_ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.chunks import Chunks, Matrix, in_memory
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.gene_ratios import gene_sums, medians

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "fitted", "measured"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The frozen reference.

    Attributes:
        geometric_mean_G: geometric means (G,), 0 for a gene with a zero.
        log_mean_factor: mean natural log of the fit's factors, so that those multiply to one.
    """

    geometric_mean_G: F64
    log_mean_factor: float


def fit(x_SG: Matrix, samples: Sequence[str] | None = None) -> State:
    """Geometric mean of each gene, and what makes the factors multiply to one.

    Args:
        x_SG: counts, samples x genes, dense or sparse; library sizes are its row sums.
        samples: names for messages.

    Raises:
        BadInput: a sample without counts, or no gene that is positive in all samples.

    Follows `edgeR::calcNormFactors(method="RLE")` (Anders & Huber 2010).
    """
    return fit_streamed(in_memory(x_SG, samples))


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Normalization factors (S,) of samples against the frozen geometric means.

    On the samples of the fit this is edgeR's answer. For a new sample the median goes over all
    genes of the reference, with ratio 0 where it has no count.

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
    """The state and the factors of the fit's samples, in two passes."""
    sums = gene_sums(chunks, "rle", without_zeros=True)
    mean_G = np.where(sums.n_positive_G == sums.n, np.exp(sums.log_sum_G / sums.n), 0.0)
    raw_S, library_S = measured(chunks, State(mean_G, 0.0))
    log_mean = float(np.log(raw_S).mean())
    return Fitted(State(mean_G, log_mean), raw_S / np.exp(log_mean), library_S)


def measured(chunks: Chunks, state: State) -> Measured:
    """Factors and libraries of samples, in one pass."""
    gene_K = np.flatnonzero(state.geometric_mean_G)
    middle = medians(chunks, gene_K, state.geometric_mean_G[gene_K], zeros=True)
    raw_S = (middle.low_S + middle.high_S) / 2 / middle.library_S
    return Measured(raw_S / np.exp(state.log_mean_factor), middle.library_S)
