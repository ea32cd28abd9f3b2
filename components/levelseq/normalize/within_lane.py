"""Within-lane normalization: what a gene's GC content or length does to its counts, per sample.

Use it where that effect differs between samples, which no size factor mends: plot log counts
against the feature, and look whether the curves are parallel. `full` makes the distribution of
counts the same in all bins of genes: the thorough one, and EDASeq's recommendation with
`between_lane` full after it. `loess` divides by a smooth trend: where a trend is all there is, or
genes are few. `median` and `upper` scale each bin by its median or upper quartile; they need
genes with counts. Leave out genes with hardly any counts before (EDASeq: a mean of 10 or less).

The bins rest on the feature alone, so there is nothing to learn from samples and every row stands
for itself. Passes over the data: none to fit, one to apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.between_lane import log_ratio
from levelseq.normalize.chunks import Chunks, Matrix, in_memory
from levelseq.normalize.gene_bins import FullQuantile, bins_of, scaled_bins
from levelseq.normalize.loess import detrended
from levelseq.normalize.row_blocks import filled

__all__ = ["State", "apply", "apply_streamed", "fit"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class State:
    """The genes' feature and bins.

    Attributes:
        which: `full`, `loess`, `median` or `upper`.
        feature_G: GC content, length, … (G,).
        bin_G: the bin of each gene, from 0 (G,); by `loess` all 0.
        hold_ends: by `loess`, the trend goes on level beyond the genes it is fitted to.
    """

    which: str
    hold_ends: bool
    feature_G: F64
    bin_G: I64


def fit(
    feature_G: ArrayLike,
    which: str = "full",
    n_bins: int = 10,
    *,
    hold_ends: bool = False,
    genes: Sequence[str] | None = None,
) -> State:
    """Bins of genes with about the same feature.

    Args:
        feature_G: a number for each gene (G,), such as its GC content or length.
        which: `full`, `loess`, `median` or `upper`.
        n_bins: bins that the genes are cut into at quantiles of the feature; not by `loess`.
        hold_ends: by `loess`, for the few genes that belong to the highest hundredth of a
            sample and have a feature beyond that of all others: go on with the trend's end.
            Without it they are multiplied by the sample's median, which is EDASeq's answer and
            makes no sense; take it where EDASeq's numbers need not be met.
        genes: names for messages.

    Raises:
        BadInput: a gene without the feature, a feature with one value, with fewer than the bins
            need, or bins with fewer than two genes by `full`.
        BadOption: no such way, or fewer than two bins.

    Follows `EDASeq::withinLaneNormalization` (Risso et al. 2011).
    """
    if which not in ("full", "loess", "median", "upper"):
        raise BadOption(
            f"no way {which!r} within lanes",
            where="--lane",
            do="use full, loess, median or upper",
        )
    feature_G = np.asarray(feature_G, dtype=np.float64)
    _check_feature(feature_G, genes)
    if which == "loess":
        return State(which, hold_ends, feature_G, np.zeros(len(feature_G), np.int64))
    at_least = 2 if which == "full" else 1
    return State(which, hold_ends, feature_G, bins_of(feature_G, n_bins, at_least=at_least))


def apply(
    x_SG: Matrix,
    state: State,
    *,
    rounded: bool = False,
    offset: bool = False,
    samples: Sequence[str] | None = None,
) -> F64:
    """Counts (S, G) without the feature's effect; each row by itself, new samples like old ones.

    This is EDASeq's answer, but for a bin whose own level is zero by `median` and `upper`: there
    EDASeq gives NaN and infinity, and here the bin is left as it is.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        state: of the fit.
        rounded: whole numbers, halves to the even one.
        offset: log((normalized + 0.1) / (count + 0.1)) instead, for models that take counts and
            an offset; not rounded.
        samples: names for messages.

    Raises:
        BadInput: other genes than in the fit; by `median` and `upper` a sample whose own level
            is zero; by `loess` a sample with counts of hardly any gene.
    """
    chunks = in_memory(x_SG, samples)
    return next(apply_streamed(chunks, state, rounded=rounded, offset=offset))


def apply_streamed(
    chunks: Chunks, state: State, *, rounded: bool = False, offset: bool = False
) -> Iterator[F64]:
    """As `apply`, chunk by chunk, in one pass."""
    full = FullQuantile(state.bin_G) if state.which == "full" else None
    for chunk in chunks():
        if chunk.x_SG.shape[1] != len(state.feature_G):
            raise BadInput(
                f"there are {chunk.x_SG.shape[1]} genes, the fit had {len(state.feature_G)}",
                where="within_lane",
                do="give the genes of the fit",
            )

        def work(x_SG: F64, rows: slice, names: Sequence[str] = chunk.samples) -> F64:
            x_SG = np.ascontiguousarray(x_SG)
            if full is not None:
                out_SG = full.apply(x_SG)
            elif state.which == "loess":
                out_SG = detrended(x_SG, state.feature_G, state.hold_ends, names[rows])
            else:
                out_SG = scaled_bins(x_SG, state.bin_G, state.which, names[rows])
            if offset:
                return log_ratio(out_SG, x_SG)
            return np.rint(out_SG) if rounded else out_SG

        yield filled(chunk.x_SG, work)


def _check_feature(feature_G: F64, genes: Sequence[str] | None) -> None:
    where = "the genes' feature"
    if feature_G.ndim != 1 or len(feature_G) < 2:
        raise BadInput(
            f"has shape {feature_G.shape}, not one number for each of two genes or more",
            where=where,
        )
    absent = np.flatnonzero(~np.isfinite(feature_G))
    if len(absent):
        names = [str(genes[i]) if genes is not None else f"gene {i}" for i in absent[:3]]
        raise BadInput(
            f"has no value for {len(absent)} of {len(feature_G)} genes: "
            + ", ".join(names)
            + (", …" if len(absent) > 3 else ""),
            where=where,
            do="leave these genes out",
        )
    if (feature_G == feature_G[0]).all():
        raise BadInput("is the same for all genes", where=where, do="take another feature")
