"""Factors of samples against one reference sample: what TMM and TMMwsp share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Chunk, Chunks
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.reference_sample import reference_row
from levelseq.normalize.row_groups import (
    dense_blocks,
    in_groups,
    libraries,
    need_counts,
    with_rows,
)

__all__ = ["LOG_RATIO_TRIM", "SUM_TRIM", "Log2Factors", "State", "fitted", "measured"]

F64 = NDArray[np.float64]
Log2Factors = Callable[[F64, F64, F64, float, tuple[float, float], bool, F64], None]
"""Takes rows, their libraries, the reference, its library, trims, weighted; fills log2 factors."""

LOG_RATIO_TRIM = 0.3
SUM_TRIM = 0.05


@dataclass(frozen=True)
class State:
    """The frozen reference sample and the options.

    Attributes:
        reference_G: its counts (G,).
        reference_library: its library size.
        log_mean_factor: mean natural log of the fit's factors, so that those multiply to one.
        log_ratio_trim, sum_trim: shares trimmed from each end of M and A values.
        weighted: whether M values count by their inverse variance.
    """

    reference_G: F64
    reference_library: float
    log_mean_factor: float
    log_ratio_trim: float = LOG_RATIO_TRIM
    sum_trim: float = SUM_TRIM
    weighted: bool = True


def fitted(
    chunks: Chunks,
    log2_factors: Log2Factors,
    choose: Callable[[Chunks], int],
    ref_column: int | str | None,
    log_ratio_trim: float,
    sum_trim: float,
    weighted: bool,
) -> Fitted[State]:
    """The state and the factors of the fit's samples: two passes and those of `choose`.

    Raises:
        BadInput: a sample has no counts, or shares no gene with the reference sample.
        BadOption: no such reference sample, or a trim that leaves nothing.
    """
    for name, trim in (("log_ratio_trim", log_ratio_trim), ("sum_trim", sum_trim)):
        if not 0 <= trim < 0.5:
            raise BadOption(f"is {trim}", where=name, do="give a share from 0 to below 0.5")
    x_G = reference_row(chunks, choose(chunks) if ref_column is None else ref_column)
    library = float(libraries(x_G[None])[0])
    if not library:
        at = "data" if ref_column is None else f"reference sample {ref_column}"
        raise BadInput("has no counts", where=at, do="leave samples without counts out")
    unscaled = State(x_G, library, 0.0, log_ratio_trim, sum_trim, weighted)
    raw_S, library_S = measured(chunks, unscaled, log2_factors)
    log_mean = float(np.log(raw_S).mean())
    state = replace(unscaled, log_mean_factor=log_mean)
    return Fitted(state, raw_S / math.exp(log_mean), library_S)


def measured(chunks: Chunks, state: State, log2_factors: Log2Factors) -> Measured:
    """Factors and libraries of samples, in one pass."""
    parts = [part for chunk in with_rows(chunks) for part in _of_chunk(chunk, state, log2_factors)]
    if not parts:
        return Measured(np.empty(0), np.empty(0))
    raw_S = np.concatenate([part.native_S for part in parts])
    library_S = np.concatenate([part.library_S for part in parts])
    return Measured(raw_S / math.exp(state.log_mean_factor), library_S)


def _of_chunk(chunk: Chunk, state: State, log2_factors: Log2Factors) -> list[Measured]:
    def of_group(rows: slice) -> Measured:
        log2_R, sums = np.empty(rows.stop - rows.start), []
        for part, block in dense_blocks(chunk.x_SG, rows):
            sums.append(libraries(block))
            log2_factors(
                block,
                sums[-1],
                state.reference_G,
                state.reference_library,
                (state.log_ratio_trim, state.sum_trim),
                state.weighted,
                log2_R[part.start - rows.start : part.stop - rows.start],
            )
        return Measured(2**log2_R, np.concatenate(sums))

    parts = in_groups(chunk.x_SG, of_group)
    need_counts(chunk, np.concatenate([part.library_S for part in parts]))
    alone = np.isnan(np.concatenate([part.native_S for part in parts]))
    if alone.any():
        raise BadInput(
            "shares no gene that has counts with the reference sample",
            where=f"sample {chunk.samples[int(np.argmax(alone))]}",
            do="leave the sample out, or use log1p_cpm",
        )
    return parts
