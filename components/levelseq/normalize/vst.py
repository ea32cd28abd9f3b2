"""Variance stabilizing transformation of counts, on the log2 scale: DESeq2's.

It takes the place of DESeq2's rlog, which is left out: both bring counts to one variance on a log
scale, but rlog shrinks each value by a model for each gene, which is slow, cannot stream or be
frozen for new samples, and DESeq2's own advice from 30 samples on is this transformation.

Passes over the data: two to fit (base means; the trend's genes), one to apply. Memory: a vector of
genes, the counts of the trend's genes, and a block of rows. With all genes in the trend the second
pass writes a gene-major copy, on disk when it is large.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize import dispersion_trend
from levelseq.normalize.base_means import base_means, evenly_spread
from levelseq.normalize.chunks import (
    Chunk,
    Chunks,
    Matrix,
    as_dense,
    checked,
    in_memory,
)
from levelseq.normalize.compiled import blocks, in_threads
from levelseq.normalize.dispersion import gene_wise_dispersions
from levelseq.normalize.dispersion_means import Model, checked_size_factors
from levelseq.normalize.gene_major import gene_major
from levelseq.normalize.stabilizer import local_stabilizer
from levelseq.normalize.vst_kernels import stabilize_local, stabilize_mean, stabilize_parametric

__all__ = [
    "State",
    "apply",
    "apply_streamed",
    "fit",
    "fit_streamed",
    "fpm",
]

F64 = NDArray[np.float64]

_BLOCK_ELEMENTS = 1 << 18


@dataclass(frozen=True)
class State:
    """What a fit froze.

    Attributes:
        trend: parametric, local or mean: what was fitted in the end.
        coefficients: for parametric the asymptotic dispersion and the extra Poisson noise; for
            mean the dispersion; for local the scale and shift to log2, and asinh of the greatest
            normalized count of the fit, beyond which values go on straight.
        knots_5N: for local, the stabilizing spline: knots, values, and three coefficients.
        curve_3V: for local, log means, and log dispersions and slopes less the quadratic there.
        quadratic_4: for local, centre, value, slope and curvature of the quadratic.
        notice: what a user should know; empty: nothing.
    """

    trend: str
    coefficients: F64
    knots_5N: F64
    curve_3V: F64
    quadratic_4: F64
    notice: str = ""


def fit(
    x_SG: Matrix,
    size_factor_S: F64,
    *,
    trend: str = "parametric",
    n_genes: int = 1000,
    design_SK: F64 | None = None,
    samples: Sequence[str] | None = None,
) -> State:
    """Fit the trend of dispersion that the transformation rests on.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        size_factor_S: DESeq2's size factors, as they are.
        trend: parametric, local or mean.
        n_genes: how many genes the trend is fitted to, spread evenly over those with a mean
            normalized count above 5, as `vst()`; 0: all, as `varianceStabilizingTransformation()`.
        design_SK: design matrix that dispersions are fitted with; none: blind.
        samples: names for messages.

    Raises:
        BadInput: a size factor is not positive, too few genes, no replicates, or no gene that
            varies more than by counting.
        BadOption: no such trend.

    Follows `DESeq2::vst` and `varianceStabilizingTransformation` (Anders & Huber 2010).
    """
    chunks = in_memory(x_SG, samples)
    return fit_streamed(chunks, size_factor_S, trend=trend, n_genes=n_genes, design_SK=design_SK)


def apply(
    x_SG: Matrix, size_factor_S: F64, state: State, *, dtype: Any = np.float64
) -> NDArray[Any]:
    """Values (S, G) on the log2 scale; any genes, each value by itself.

    On the samples of the fit this is DESeq2's answer. A new sample, with size factors against the
    fit's reference, gets the frozen trend and scale.

    Raises:
        BadInput: a size factor is not positive, or there is not one for each sample.
    """
    sizes = checked_size_factors(size_factor_S)
    return _stabilized(Chunk(checked(x_SG), ()), sizes, state, dtype)


def fit_streamed(
    chunks: Chunks,
    size_factor_S: F64,
    *,
    trend: str = "parametric",
    n_genes: int = 1000,
    design_SK: F64 | None = None,
) -> State:
    """As `fit`, in two passes over chunks."""
    model = Model.of(size_factor_S, design_SK)
    sizes = model.size_factor_S
    mean_G, highest_2 = base_means(chunks, sizes)
    genes = evenly_spread(mean_G, n_genes) if n_genes else np.arange(len(mean_G))
    dtype = np.dtype(np.uint16 if highest_2[1] < 2**16 else np.float32)
    if highest_2[1] > 2**24:
        dtype = np.dtype(np.float64)
    alpha = np.empty(len(genes))
    with gene_major(_of_genes(chunks, genes), len(sizes), len(genes), dtype) as copy:
        for block, x_GS in copy.blocks():
            alpha[block] = gene_wise_dispersions(x_GS, sizes, design_SK).dispersion_G
    found = dispersion_trend.fit(mean_G[genes], alpha, trend)
    if found.curve is None:
        nothing = np.empty((5, 0)), np.empty((3, 0)), np.empty(0)
        return State(found.kind, found.coefficients, *nothing, found.notice)
    curve = found.curve
    scale, knots_5N = local_stabilizer(found, mean_G, highest_2[0], model.mean_inverse_size)
    curve_3V = np.stack([curve.x_V, curve.value_V, curve.slope_V])
    quadratic_4 = np.append(curve.center, curve.quadratic_3)
    return State(found.kind, scale, knots_5N, curve_3V, quadratic_4, found.notice)


def apply_streamed(
    chunks: Chunks, size_factor_S: F64, state: State, *, dtype: Any = np.float64
) -> Iterator[NDArray[Any]]:
    """As `apply`, chunk by chunk, in one pass; size factors in the samples' order."""
    sizes, start = checked_size_factors(size_factor_S), 0
    for chunk in chunks():
        stop = start + chunk.x_SG.shape[0]
        yield _stabilized(chunk, sizes[start:stop], state, dtype)
        start = stop


def fpm(x_SG: Matrix, size_factor_S: F64 | None = None) -> F64:
    """Fragments per million (S, G): DESeq2's `fpm`.

    Args:
        x_SG: counts.
        size_factor_S: DESeq2's; the unit library is then their multiple of the geometric mean of
            libraries, which makes it robust. None: each sample's own library.

    Raises:
        BadInput: a sample has no counts.
    """
    x = as_dense(checked(x_SG))
    library_S = x.sum(axis=1)
    if not library_S.all():
        row = int(np.argmin(library_S))
        raise BadInput("has no counts", where=f"sample in row {row}", do="leave the sample out")
    if size_factor_S is not None:
        library_S = checked_size_factors(size_factor_S) * np.exp(np.log(library_S).mean())
    return np.asarray(1e6 * (x / library_S[:, None]))


def _of_genes(chunks: Chunks, genes: NDArray[np.int64]) -> Chunks:
    def read() -> Iterator[Chunk]:
        for chunk in chunks():
            every = len(genes) == chunk.x_SG.shape[1]
            yield chunk if every else Chunk(chunk.x_SG[:, genes], chunk.samples)

    return read


def _stabilized(chunk: Chunk, size_S: F64, state: State, dtype: Any) -> NDArray[Any]:
    x_SG = chunk.x_SG
    if x_SG.shape[0] != len(size_S):
        raise BadInput(f"{len(size_S)} size factors for {x_SG.shape[0]} samples", where="vst")
    out = np.empty(x_SG.shape, dtype=dtype)

    def work(rows: slice) -> None:
        block = out[rows] if out.dtype == np.float64 else np.empty(out[rows].shape)
        given = as_dense(x_SG[rows]), size_S[rows]
        if state.trend == "parametric":
            stabilize_parametric(*given, state.coefficients, block)
        elif state.trend == "mean":
            stabilize_mean(*given, float(state.coefficients[0]), block)
        else:
            stabilize_local(*given, state.coefficients, state.knots_5N, block)
        if block.dtype != out.dtype:
            out[rows] = block

    in_threads(work, blocks(len(out), max(1, _BLOCK_ELEMENTS // x_SG.shape[1])))
    return out
