"""Size factors by the median of ratios to the geometric mean: DESeq2's `type="ratio"`.

Passes over the data: one to fit, one to apply. Memory: a few vectors of genes for each block of
rows that is read at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Chunks, Matrix, in_memory
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.gene_ratios import gene_sums, geometric_medians

__all__ = [
    "State",
    "apply",
    "apply_streamed",
    "fit",
    "fit_streamed",
    "fitted",
    "measured",
    "only_control",
]

F64 = NDArray[np.float64]
ControlGenes = Sequence[int] | Sequence[bool] | NDArray[np.integer] | NDArray[np.bool_] | None


@dataclass(frozen=True)
class State:
    """The frozen reference.

    Attributes:
        log_geometric_mean_G: log geometric means (G,), -inf for a gene with a zero and for one
            that is not a control gene where those were given.
    """

    log_geometric_mean_G: F64


def fit(
    x_SG: Matrix, samples: Sequence[str] | None = None, *, control_genes: ControlGenes = None
) -> State:
    """Log geometric mean of each gene over the samples.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        samples: names for messages.
        control_genes: genes that size factors rest on: a mask (G,), or numbers from 0.

    Raises:
        BadInput: a sample without counts, or no gene (no control gene) that is positive in all.
        BadOption: control_genes are not genes of the matrix.

    Follows `DESeq2::estimateSizeFactorsForMatrix(type="ratio")` (Anders & Huber 2010).
    """
    return fit_streamed(in_memory(x_SG, samples), control_genes=control_genes)


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Size factors (S,) of samples against the frozen reference.

    On the samples of the fit this is DESeq2's answer. A new sample gets the median, over the
    reference genes that it has counts of, of its count over the reference's geometric mean.

    Raises:
        BadInput: a sample has no counts of any reference gene.
    """
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(chunks: Chunks, *, control_genes: ControlGenes = None) -> State:
    """As `fit`, in one pass over chunks; stops at once when no gene can be left."""
    sums = gene_sums(chunks, "median_of_ratios", without_zeros=True)
    log_mean_G = np.where(sums.n_positive_G == sums.n, sums.log_sum_G / sums.n, -np.inf)
    return State(only_control(log_mean_G, control_genes, "median_of_ratios"))


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    return measured(chunks, state).native_S


def fitted(chunks: Chunks, *, control_genes: ControlGenes = None) -> Fitted[State]:
    """The state and the size factors of the fit's samples, in two passes."""
    state = fit_streamed(chunks, control_genes=control_genes)
    return Fitted(state, *measured(chunks, state))


def measured(chunks: Chunks, state: State) -> Measured:
    """Size factors and libraries of samples, in one pass."""
    return geometric_medians(chunks, state.log_geometric_mean_G)


def only_control(log_mean_G: F64, control_genes: ControlGenes, method: str) -> F64:
    """The log means with -inf for every gene that is not among the control genes.

    Raises:
        BadOption: control_genes are not genes of the matrix.
        BadInput: no control gene has a geometric mean.
    """
    if control_genes is None:
        return log_mean_G
    control_G = _mask(np.asarray(control_genes), len(log_mean_G))
    out = np.where(control_G, log_mean_G, -np.inf)
    if not np.isfinite(out).any():
        raise BadInput(
            f"none of the {int(control_G.sum())} control genes has a geometric mean",
            where=method,
            do="give control genes that have counts in every sample, or none",
        )
    return out


def _mask(given: NDArray[np.generic], n_genes: int) -> NDArray[np.bool_]:
    """(G,): the genes that a mask or numbers name."""
    where = "control_genes"
    mask = np.zeros(n_genes, dtype=bool)
    if given.ndim != 1 or given.size == 0:
        raise BadOption("names no gene", where=where, do="give a mask or numbers of genes")
    if given.dtype == bool:
        if given.shape != mask.shape:
            raise BadOption(f"is a mask of {given.size} genes, not of {n_genes}", where=where)
        if not given.any():
            raise BadOption("names no gene", where=where, do="give a mask or numbers of genes")
        return np.asarray(given, dtype=bool)
    if given.dtype.kind not in "iu":
        raise BadOption("is neither a mask nor whole numbers", where=where)
    numbers = given.astype(np.int64)
    outside = (numbers < 0) | (numbers >= n_genes)
    if outside.any():
        raise BadOption(
            f"has {numbers[outside][0]}, and genes are numbered 0 to {n_genes - 1}", where=where
        )
    if len(np.unique(numbers)) < len(numbers):
        raise BadOption("names a gene twice", where=where)
    mask[numbers] = True
    return mask
