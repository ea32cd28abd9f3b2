"""Quantile normalization: every sample gets the same distribution of values.

For samples whose distributions should be the same and differ by technique: microarrays, or RNA
of one tissue, on a log scale. Not where conditions change the whole distribution (tumour and
normal, many tissues, the loss of a general factor): it takes such a difference away.

Passes over the data: one to fit, one to apply. Memory: a vector of genes and a block of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunk, Chunks, Matrix, dense_rows, is_sparse
from levelseq.normalize.compiled import blocks, in_threads
from levelseq.normalize.quantile_kernels import onto_target
from levelseq.normalize.row_blocks import filled

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed"]

F64 = NDArray[np.float64]

_BLOCK_ELEMENTS = 1 << 18


@dataclass(frozen=True)
class State:
    """The frozen distribution.

    Attributes:
        mean_quantile_G: means over samples of their sorted values, ascending (G,).
        ties: equal values stay equal.
    """

    mean_quantile_G: F64
    ties: bool


def fit(x_SG: Matrix, *, ties: bool = True, samples: Sequence[str] | None = None) -> State:
    """The mean of the samples' sorted values.

    Args:
        x_SG: values, samples x genes, dense or sparse; NaN is a missing value, and a sample
            that has some is stretched over all quantiles.
        ties: equal values stay equal: each gets the quantile at its mean rank. Otherwise they
            get quantiles one after the other, in the order of the genes.
        samples: names for messages.

    Raises:
        BadInput: not samples x genes, an infinite value, or a sample with one value or none
            beside NaN.

    Follows `limma::normalizeQuantiles` (Bolstad et al. 2003).
    """
    return fit_streamed(_one_chunk(x_SG, samples), ties=ties)


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Values (S, G) with the frozen distribution; NaN stays NaN.

    On the samples of the fit this is limma's answer (with `ties=False` limma gives equal values
    an order of its own). A new sample is brought to the same distribution by its own ranks, so
    a row's result does not depend on the other rows.

    Raises:
        BadInput: as `fit`, or other genes than in the fit.
    """
    return next(apply_streamed(_one_chunk(x_SG, samples), state))


def fit_streamed(chunks: Chunks, *, ties: bool = True) -> State:
    """As `fit`, in one pass over chunks."""
    total_G: F64 | None = None
    n = 0
    for chunk in chunks():
        for rows, x_SG in dense_rows(chunk.x_SG):
            # Blocks are added in their order, so the sum does not depend on threads.
            for sum_G in _sums_of_sorted(x_SG, chunk.samples[rows]):
                total_G = sum_G if total_G is None else total_G + sum_G
            n += len(x_SG)
    if total_G is None:
        raise BadInput("there are no samples", where="quantile")
    return State(total_G / n, ties)


def apply_streamed(chunks: Chunks, state: State) -> Iterator[F64]:
    """As `apply`, chunk by chunk, in one pass."""
    n_genes = len(state.mean_quantile_G)
    for chunk in chunks():
        if chunk.x_SG.shape[1] != n_genes:
            raise BadInput(
                f"there are {chunk.x_SG.shape[1]} genes, the fit had {n_genes}",
                where="quantile",
                do="give the genes of the fit",
            )
        yield _normalized(chunk, state)


def _normalized(chunk: Chunk, state: State) -> F64:
    def work(x_SG: F64, rows: slice) -> F64:
        _check(x_SG, chunk.samples[rows])
        out_SG = np.empty(x_SG.shape)
        onto_target(np.ascontiguousarray(x_SG), state.mean_quantile_G, state.ties, out_SG)
        return out_SG

    return filled(chunk.x_SG, work)


def _sums_of_sorted(x_SG: F64, samples: Sequence[str]) -> list[F64]:
    """Sums (G,) of sorted rows, one for each block of rows."""

    def sum_of(rows: slice) -> F64:
        _check(x_SG[rows], samples[rows])
        sorted_SG = np.sort(x_SG[rows], axis=1)
        # NaN is sorted to the end.
        for i in np.flatnonzero(np.isnan(sorted_SG[:, -1])):
            sorted_SG[i] = _stretched(sorted_SG[i])
        return np.asarray(sorted_SG.sum(axis=0))

    return in_threads(sum_of, blocks(len(x_SG), max(1, _BLOCK_ELEMENTS // x_SG.shape[1])))


def _stretched(sorted_G: F64) -> F64:
    """The values before the NaN, interpolated at as many even places as there are genes."""
    values = sorted_G[~np.isnan(sorted_G)]
    places = np.linspace(0, len(values) - 1, len(sorted_G))
    return np.interp(places, np.arange(len(values)), values)


def _one_chunk(x_SG: Matrix, samples: Sequence[str] | None) -> Chunks:
    """As `chunks.in_memory`, which refuses NaN and negative values."""
    matrix: Any = x_SG.tocsr() if is_sparse(x_SG) else np.asarray(x_SG)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise BadInput(
            f"need samples x genes, not an array of shape {tuple(matrix.shape)}", where="data"
        )
    if matrix.dtype.kind not in "biuf":
        raise BadInput(f"values are of type {matrix.dtype}, not numbers", where="data")
    names = samples if samples is not None else [f"row {i}" for i in range(matrix.shape[0])]
    return lambda: iter([Chunk(matrix, names)])


def _check(x_SG: F64, samples: Sequence[str]) -> None:
    """Refuse samples without quantiles."""
    if np.isfinite(x_SG).all():
        return
    infinite_S = np.isinf(x_SG).any(axis=1)
    if infinite_S.any():
        name = samples[int(np.argmax(infinite_S))]
        raise BadInput("a value is infinite", where=f"sample {name}")
    few_S = (~np.isnan(x_SG)).sum(axis=1) < 2
    if few_S.any():
        raise BadInput(
            "has values for one gene or none",
            where=f"sample {samples[int(np.argmax(few_S))]}",
            do="leave the sample out",
        )
