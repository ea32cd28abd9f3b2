"""Size factors by geometric means over positive counts: DESeq2's `type="poscounts"`.

It is defined where every gene has a zero. DESeq2 has it twice: the method of a DESeqDataSet
scales the factors to geometric mean 1, the function for a matrix does not.

Passes over the data: two to fit, one to apply. Memory: as median_of_ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.chunks import Chunks, Matrix, in_memory
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.gene_ratios import gene_sums, geometric_medians
from levelseq.normalize.median_of_ratios import ControlGenes, only_control

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "fitted", "measured"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The frozen reference.

    Attributes:
        log_geometric_mean_G: sum of the logs of the positive counts over the number of all
            samples (G,); -inf for a gene without counts and for one that is no control gene.
        log_scale: mean log of the fit's size factors, taken from each; 0 where not rescaled.
    """

    log_geometric_mean_G: F64
    log_scale: float


def fit(
    x_SG: Matrix,
    samples: Sequence[str] | None = None,
    *,
    rescaled: bool = True,
    control_genes: ControlGenes = None,
) -> State:
    """Log geometric mean of each gene's positive counts, zeros as ones.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        samples: names for messages.
        rescaled: whether the fit's size factors have geometric mean 1.
        control_genes: genes that size factors rest on: a mask (G,), or numbers from 0.

    Raises:
        BadInput: a sample has no counts (of control genes).
        BadOption: control_genes are not genes of the matrix.

    Follows `DESeq2::estimateSizeFactors(dds, type="poscounts")`; without rescaling
    `estimateSizeFactorsForMatrix(type="poscounts")`.
    """
    return fit_streamed(in_memory(x_SG, samples), rescaled=rescaled, control_genes=control_genes)


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Size factors (S,) of samples against the frozen reference.

    On the samples of the fit this is DESeq2's answer. A new sample gets the median, over the
    reference genes that it has counts of, of its count over the reference's mean; it is divided
    by the same scale.

    Raises:
        BadInput: a sample has no counts of any reference gene.
    """
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(
    chunks: Chunks, *, rescaled: bool = True, control_genes: ControlGenes = None
) -> State:
    """As `fit`, in two passes over chunks."""
    return fitted(chunks, rescaled=rescaled, control_genes=control_genes).state


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    return measured(chunks, state).native_S


def fitted(
    chunks: Chunks, *, rescaled: bool = True, control_genes: ControlGenes = None
) -> Fitted[State]:
    """The state and the size factors of the fit's samples, in two passes."""
    sums = gene_sums(chunks, "poscounts", without_zeros=False)
    log_mean_G = np.where(sums.n_positive_G > 0, sums.log_sum_G / sums.n, -np.inf)
    log_mean_G = only_control(log_mean_G, control_genes, "poscounts")
    raw_S, library_S = measured(chunks, State(log_mean_G, 0.0))
    log_scale = float(np.log(raw_S).mean()) if rescaled else 0.0
    return Fitted(State(log_mean_G, log_scale), raw_S / np.exp(log_scale), library_S)


def measured(chunks: Chunks, state: State) -> Measured:
    """Size factors and libraries of samples, in one pass."""
    raw_S, library_S = geometric_medians(chunks, state.log_geometric_mean_G)
    return Measured(raw_S / np.exp(state.log_scale), library_S)
