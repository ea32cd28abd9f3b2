"""Normalization factors by a quantile of the counts: edgeR's `method="upperquartile"`.

Passes over the data: two to fit, one to apply. Memory: two vectors of genes and a block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Chunk, Chunks, Matrix, in_memory
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.reference_sample import overview, quantiles
from levelseq.normalize.row_groups import dense_blocks, in_groups, libraries, need_counts, with_rows

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "fitted", "measured"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """What the fit froze.

    Attributes:
        expressed_G: genes with a count in any sample of the fit (G,): quantiles go over them.
        p: which quantile.
        log_mean_factor: mean natural log of the fit's factors, so that those multiply to one.
    """

    expressed_G: NDArray[np.bool_]
    p: float
    log_mean_factor: float


def fit(x_SG: Matrix, samples: Sequence[str] | None = None, *, p: float = 0.75) -> State:
    """The genes that quantiles go over, and what makes the factors multiply to one.

    Args:
        x_SG: counts, samples x genes, dense or sparse; library sizes are its row sums.
        samples: names for messages.
        p: which quantile of a sample's counts.

    Raises:
        BadInput: a sample has no counts, or its quantile is 0.
        BadOption: p is no share.

    Follows `edgeR::calcNormFactors(method="upperquartile")` (Bullard et al. 2010).
    """
    return fit_streamed(in_memory(x_SG, samples), p=p)


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Normalization factors (S,): the quantile over the library and the fit's mean of that.

    On the samples of the fit this is edgeR's answer. A new sample's quantile goes over the same
    genes, those that the fit found expressed.

    Raises:
        BadInput: a sample has no counts, or its quantile is 0.
    """
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(chunks: Chunks, *, p: float = 0.75) -> State:
    """As `fit`, in two passes over chunks."""
    return fitted(chunks, p=p).state


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    return measured(chunks, state).native_S


def fitted(chunks: Chunks, *, p: float = 0.75) -> Fitted[State]:
    """The state and the factors of the fit's samples, in two passes."""
    if not 0 <= p <= 1:
        raise BadOption(f"is {p}", where="p", do="give a share from 0 to 1")
    unscaled = State(overview(chunks, "upper_quartile").expressed_G, p, 0.0)
    raw_S, library_S = measured(chunks, unscaled)
    log_mean = float(np.log(raw_S).mean())
    return Fitted(replace(unscaled, log_mean_factor=log_mean), raw_S / np.exp(log_mean), library_S)


def measured(chunks: Chunks, state: State) -> Measured:
    """Factors and libraries of samples, in one pass."""
    parts = [part for chunk in with_rows(chunks) for part in _of_chunk(chunk, state)]
    if not parts:
        return Measured(np.empty(0), np.empty(0))
    raw_S = np.concatenate([part.native_S for part in parts])
    library_S = np.concatenate([part.library_S for part in parts])
    return Measured(raw_S / np.exp(state.log_mean_factor), library_S)


def _of_chunk(chunk: Chunk, state: State) -> list[Measured]:
    gene_K = np.flatnonzero(state.expressed_G)
    all_genes = len(gene_K) == len(state.expressed_G)

    def of_group(rows: slice) -> Measured:
        raw, sums = [], []
        for _, block in dense_blocks(chunk.x_SG, rows):
            sums.append(libraries(block))
            of_fit = block if all_genes else np.take(block, gene_K, axis=1)
            raw.append(quantiles(of_fit, state.p) / np.where(sums[-1] > 0, sums[-1], 1.0))
        return Measured(np.concatenate(raw), np.concatenate(sums))

    parts = in_groups(chunk.x_SG, of_group)
    need_counts(chunk, np.concatenate([part.library_S for part in parts]))
    zero = np.concatenate([part.native_S for part in parts]) == 0
    if zero.any():
        raise BadInput(
            f"has no counts in so many genes that its {state.p:g} quantile is 0",
            where=f"sample {chunk.samples[int(np.argmax(zero))]}",
            do="leave the sample out, or use tmmwsp",
        )
    return parts
