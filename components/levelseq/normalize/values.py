"""Values that need no batch: what size factors are written as, and what is levelled.

Each kind is fitted in a pass or two and given row by row, so it streams.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadOption
from levelseq.normalize import (
    between_lane,
    cpm,
    gene_length,
    log1p_cpm,
    pearson_residuals,
    vst,
    within_lane,
)
from levelseq.normalize.chunks import Chunk, Chunks, Matrix, as_dense
from levelseq.normalize.params import MethodParams
from levelseq.normalize.source import Source, gene_feature, places, take_genes

__all__ = [
    "BY_GENE_LIST",
    "STATES",
    "UNITS",
    "Lanes",
    "Samples",
    "fit_values",
    "lane_offsets",
    "row_values",
]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

UNITS = {
    "log1p_cpm": "log1p CPM",
    "normalized_counts": "normalized counts",
    "cpm": "CPM",
    "log_cpm": "log2 CPM",
    "rpkm": "RPKM",
    "tpm": "TPM",
    "vst": "VST, log2",
    "pearson_residuals": "Pearson residual",
    "within_lane": "counts",
    "between_lane": "counts",
    "given": "as given",
    "": "counts",
}


@dataclass(frozen=True)
class Samples:
    """What goes along with each sample.

    Attributes:
        size_factor_S: with geometric mean 1 over the fit.
        native_S: as the method itself scales them.
        library_S: effective library sizes.
        empty: how many have no counts.
        own_S: what the method's own package returns: DESeq2's and scuttle's size factors, edgeR's
            normalization factors; None of a part.
    """

    size_factor_S: F64
    native_S: F64
    library_S: F64
    empty: int = 0
    own_S: F64 | None = None

    def of(self, rows: slice) -> Samples:
        """Of some samples in a row."""
        return Samples(self.size_factor_S[rows], self.native_S[rows], self.library_S[rows])


@dataclass(frozen=True)
class Scale:
    """Log1p CPM: the geometric mean library of the fit."""

    reference_library: float


@dataclass(frozen=True)
class Lengths:
    """RPKM and TPM: the genes' lengths in bases."""

    length_G: F64


@dataclass(frozen=True)
class Lanes:
    """Within-lane and between-lane normalization, one after the other."""

    within: within_lane.State | None
    between: between_lane.State | None
    rounded: bool


@dataclass(frozen=True)
class Plain:
    """Nothing to freeze."""


STATES: dict[str, type[Any]] = {
    "log1p_cpm": Scale,
    "normalized_counts": Plain,
    "cpm": Plain,
    "log_cpm": cpm.State,
    "rpkm": Lengths,
    "tpm": Lengths,
    "vst": vst.State,
    "pearson_residuals": pearson_residuals.State,
    "within_lane": Lanes,
    "between_lane": Lanes,
    "given": Plain,
}
# These look at the whole of a sample, so they are given for all genes of the fit.
_WHOLE_ROW = ("tpm", "pearson_residuals", "within_lane", "between_lane")
BY_GENE_LIST = ("rpkm", *_WHOLE_ROW)
"""Kinds that are defined for the genes of the fit alone."""


def fit_values(
    kind: str,
    source: Source,
    samples: Samples | None,
    params: MethodParams,
    reference_library: float,
    design_SK: F64 | None,
) -> Any:
    """The frozen state of one kind of values, fitted on the genes that every sample has.

    Raises:
        BadInput: a gene lacks the feature that is needed, or the kind cannot be fitted here.
    """
    genes = source.shared_genes
    chunks = source.chunks(genes)
    if kind == "log1p_cpm":
        return Scale(reference_library)
    if kind in ("rpkm", "tpm"):
        return Lengths(gene_feature(source, genes, "length"))
    if kind == "pearson_residuals":
        return pearson_residuals.fit_streamed(chunks)
    if kind in ("within_lane", "between_lane"):
        return _lanes(kind, source, params)
    if kind in ("normalized_counts", "cpm", "given"):
        return Plain()
    assert samples is not None, f"{kind} rests on size factors"
    if kind == "log_cpm":
        return cpm.fit(samples.library_S, params.prior_count)
    return vst.fit_streamed(
        chunks,
        samples.native_S,
        trend=params.trend,
        n_genes=params.trend_genes,
        design_SK=None if params.blind else design_SK,
    )


def row_values(
    kind: str,
    state: Any,
    x_SG: Matrix,
    samples: Samples | None,
    shared: Int,
    output: Int,
    names: Sequence[str] | None = None,
) -> Matrix:
    """Values (S, output genes) of some samples.

    Args:
        x_SG: counts of all genes of the source.
        samples: of those samples.
        shared: the genes of the fit, in its order.
        output: the genes that are wanted; among those of the fit where the kind needs its list.
        names: of those samples, for messages.
    """
    if kind in _WHOLE_ROW:
        values = _of_whole_rows(kind, state, take_genes(x_SG, shared), names)
        return take_genes(values, places(output, shared))
    counts = take_genes(x_SG, output)
    if not kind:
        return counts
    if kind == "given":
        return as_dense(counts)
    assert samples is not None, f"{kind} rests on size factors"
    if kind == "log1p_cpm":
        return log1p_cpm.values(counts, samples.size_factor_S, state.reference_library)
    if kind == "normalized_counts":
        return cpm.scaled_rows(counts, 1 / samples.native_S)
    if kind == "cpm":
        return cpm.cpm(counts, samples.library_S)
    if kind == "log_cpm":
        return cpm.apply(counts, samples.library_S, state)
    if kind == "rpkm":
        lengths = state.length_G[places(output, shared)]
        return gene_length.rpkm(counts, samples.library_S, lengths)
    return vst.apply(counts, samples.native_S, state)


def lane_offsets(state: Lanes, x_SG: Matrix, shared: Int, output: Int) -> F64:
    """What to add to log counts in a model instead: EDASeq's offsets (S, output genes)."""
    counts = as_dense(take_genes(x_SG, shared))
    exact = dataclasses.replace(state, rounded=False)
    values = as_dense(_of_whole_rows("", exact, counts, None))
    offset_SG = between_lane.log_ratio(values, counts)
    return offset_SG[:, places(output, shared)]


def _of_whole_rows(kind: str, state: Any, x_SG: Matrix, names: Sequence[str] | None) -> Matrix:
    if kind == "tpm":
        return gene_length.tpm(x_SG, state.length_G, samples=names)
    if kind == "pearson_residuals":
        return pearson_residuals.apply(x_SG, state, names)
    if state.within is not None:
        x_SG = within_lane.apply(x_SG, state.within, rounded=state.rounded, samples=names)
    if state.between is not None:
        x_SG = between_lane.apply(x_SG, state.between, rounded=state.rounded, samples=names)
    return x_SG


def _lanes(kind: str, source: Source, params: MethodParams) -> Lanes:
    chunks, within = source.chunks(source.shared_genes), None
    how: str = params.lane if kind == "between_lane" else params.between
    if kind == "within_lane":
        feature_G = gene_feature(source, source.shared_genes, params.feature)
        within = within_lane.fit(feature_G, params.lane)
        chunks = _levelled_lanes(chunks, within, params.rounded)
    elif how == "loess":
        raise BadOption("between lanes there is no loess", where="--lane", do="use full")
    between = between_lane.fit_streamed(chunks, how) if how else None
    return Lanes(within, between, params.rounded)


def _levelled_lanes(chunks: Chunks, within: within_lane.State, rounded: bool) -> Chunks:
    def read() -> Iterator[Chunk]:
        for chunk in chunks():
            levelled = within_lane.apply(chunk.x_SG, within, rounded=rounded, samples=chunk.samples)
            yield Chunk(levelled, chunk.samples)

    return read
