"""Between-lane normalization: samples brought to a common scale or a common distribution.

`median` and `upper` divide each sample by its median or upper quartile: for samples that differ
by depth; `upper` where half of the genes have no counts. `full` gives every sample the same
distribution, the medians of the sorted samples: where distributions differ in shape by technique
alone; it takes away a difference in shape that conditions make.

Passes over the data: one to fit `median` and `upper`; to fit `full` as many as `rank_medians`
needs, one for samples that fit in 512 MB when sorted and about four beyond; one to apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Chunk, Chunks, Matrix, dense_rows, in_memory
from levelseq.normalize.quantile_kernels import onto_target
from levelseq.normalize.r_quantile import MEDIAN, UPPER, row_quantiles
from levelseq.normalize.rank_medians import rank_medians
from levelseq.normalize.row_blocks import filled

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "log_ratio"]

F64 = NDArray[np.float64]

_PROBABILITY = {"median": MEDIAN, "upper": UPPER}
_LEVEL = {"median": "median", "upper": "upper quartile"}


@dataclass(frozen=True)
class State:
    """The frozen scale.

    Attributes:
        which: `full`, `median` or `upper`.
        target_G: by `full` the common distribution, ascending (G,); else empty.
        mean_level: by `median` and `upper` the mean of the samples' medians or upper quartiles.
    """

    which: str
    target_G: F64
    mean_level: float


def fit(x_SG: Matrix, which: str = "full", *, samples: Sequence[str] | None = None) -> State:
    """The scale that the samples have in common.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        which: `full`, `median` or `upper`.
        samples: names for messages.

    Raises:
        BadInput: the median or upper quartile of a sample is zero; names the sample.
        BadOption: no such way.

    Follows `EDASeq::betweenLaneNormalization` (Bullard et al. 2010; Risso et al. 2011).
    """
    return fit_streamed(in_memory(x_SG, samples), which)


def apply(
    x_SG: Matrix,
    state: State,
    *,
    rounded: bool = False,
    offset: bool = False,
    samples: Sequence[str] | None = None,
) -> F64:
    """Counts (S, G) on the common scale.

    On the samples of the fit this is EDASeq's answer. A new sample gets the frozen distribution
    by its own ranks, or is divided by its own level over the frozen mean level, so a row's
    result does not depend on the other rows.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        state: of the fit.
        rounded: whole numbers, halves to the even one.
        offset: log((normalized + 0.1) / (count + 0.1)) instead, for models that take counts and
            an offset; not rounded.
        samples: names for messages.

    Raises:
        BadInput: the median or upper quartile of a sample is zero, or other genes than in the
            fit.
    """
    return next(apply_streamed(in_memory(x_SG, samples), state, rounded=rounded, offset=offset))


def fit_streamed(chunks: Chunks, which: str = "full") -> State:
    """As `fit`, over chunks."""
    if which == "full":
        target_G = rank_medians(chunks)
        if len(target_G) == 0:
            raise BadInput("there are no samples", where="between_lane")
        return State(which, target_G, 1.0)
    if which not in _PROBABILITY:
        raise BadOption(
            f"no way {which!r} between lanes", where="--lane", do="use full, median or upper"
        )
    levels = [
        _levels(x_SG, which, chunk.samples[rows])
        for chunk in chunks()
        for rows, x_SG in dense_rows(chunk.x_SG)
    ]
    if not levels:
        raise BadInput("there are no samples", where="between_lane")
    # R's mean has more digits than a double, and the last one can decide how a half is rounded.
    mean_level = float(np.concatenate(levels).astype(np.longdouble).mean())
    return State(which, np.empty(0), mean_level)


def apply_streamed(
    chunks: Chunks, state: State, *, rounded: bool = False, offset: bool = False
) -> Iterator[F64]:
    """As `apply`, chunk by chunk, in one pass."""
    for chunk in chunks():
        n_genes = chunk.x_SG.shape[1]
        if state.which == "full" and n_genes != len(state.target_G):
            raise BadInput(
                f"there are {n_genes} genes, the fit had {len(state.target_G)}",
                where="between_lane",
                do="give the genes of the fit",
            )
        yield _normalized(chunk, state, rounded, offset)


def log_ratio(normalized_SG: F64, x_SG: F64) -> F64:
    """Offsets: the log of normalized over given counts, with 0.1 added to both as EDASeq does."""
    return np.asarray(np.log(normalized_SG + 0.1) - np.log(x_SG + 0.1))


def _normalized(chunk: Chunk, state: State, rounded: bool, offset: bool) -> F64:
    def work(x_SG: F64, rows: slice) -> F64:
        if state.which == "full":
            out_SG = np.empty(x_SG.shape)
            onto_target(np.ascontiguousarray(x_SG), state.target_G, False, out_SG)
        else:
            level_S = _levels(x_SG, state.which, chunk.samples[rows])
            out_SG = x_SG / (level_S / state.mean_level)[:, None]
        if offset:
            return log_ratio(out_SG, x_SG)
        return np.rint(out_SG) if rounded else out_SG

    return filled(chunk.x_SG, work)


def _levels(x_SG: F64, which: str, samples: Sequence[str]) -> F64:
    """(S,): medians or upper quartiles, none of them zero."""
    level_S = row_quantiles(x_SG, _PROBABILITY[which])
    if not level_S.all():
        raise BadInput(
            f"its {_LEVEL[which]} is zero",
            where=f"sample {samples[int(np.argmin(level_S))]}",
            do="leave out genes with few counts, or use full" if which == "upper" else "use upper",
        )
    return level_S
