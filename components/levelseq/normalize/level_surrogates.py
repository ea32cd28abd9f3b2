"""svaseq on streams: surrogate variables of the counts, taken from any values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadOption
from levelseq.normalize import remove_batch_effect, surrogate_variables
from levelseq.normalize.chunks import dense_rows
from levelseq.normalize.columns import Batches
from levelseq.normalize.design import Design
from levelseq.normalize.gene_major import gene_major
from levelseq.normalize.level import Level
from levelseq.normalize.level_design import check_condition
from levelseq.normalize.params import MethodParams
from levelseq.normalize.stream import Stream

__all__ = ["State", "apply_surrogates", "fit_surrogates"]

F64 = NDArray[np.float64]
Columns = tuple[Batches, Design] | None


@dataclass(frozen=True)
class State:
    """What a fit froze.

    Attributes:
        surrogates: of log counts, as svaseq finds them.
        removal: what their slopes take from the values; None where none was found.
    """

    surrogates: surrogate_variables.State
    removal: remove_batch_effect.State | None


def fit_surrogates(
    stream: Stream, columns: Columns, params: MethodParams, stack: ExitStack
) -> Level:
    """Surrogate variables that the condition and the covariates do not tell, removed."""
    if columns is None or not params.condition:
        raise BadOption(
            "svaseq needs the condition that it keeps",
            where="--condition",
            do="name its column, or use quantile",
        )
    design = columns[1]
    coding = check_condition(design, params.condition)
    one = np.ones((stream.n_samples, 1))
    mod0 = {name: levels for name, levels in coding.items() if name != params.condition}
    mod_SK = np.hstack([one, design.matrix(coding)])
    mod0_SK = np.hstack([one, design.matrix(mod0)])
    counts = stack.enter_context(
        gene_major(
            stream.source.chunks(stream.shared), stream.n_samples, len(stream.shared), np.uint32
        )
    )

    def log_counts() -> Iterator[tuple[slice, F64]]:
        for genes, x_GS in counts.blocks():
            yield genes, np.log(x_GS + 1.0)

    found = surrogate_variables.fit_gene_blocks(
        log_counts, mod_SK, mod0_SK, params.n_surrogates or None
    )
    if found.n_surrogates == 0:
        return _level(State(found, None), stream, found.notices())
    removal = remove_batch_effect.fit_streamed(
        stream.chunks(), stream.n_samples, covariates_SK=_of(stream, found), design_SK=mod_SK
    )
    told = f"{found.n_surrogates} surrogate variables were removed"
    return _level(State(found, removal), stream, [told, *found.notices()])


def apply_surrogates(
    stream: Stream, _: Columns, __: MethodParams, state: State, ___: ExitStack
) -> Level:
    """New samples: each projected on the frozen surrogates, as `sva::fsva(method="fast")`."""
    return _level(state, stream, [])


def _level(state: State, stream: Stream, notices: list[str]) -> Level:
    removal = state.removal
    if removal is None:
        return Level(state, lambda x_SG, _: x_SG, notices=notices)
    surrogate_SV = _of(stream, state.surrogates)

    def block(x_SG: F64, rows: slice) -> F64:
        return remove_batch_effect.apply(x_SG, None, removal, covariates_SK=surrogate_SV[rows])

    found = {f"surrogate_{i + 1}": surrogate_SV[:, i] for i in range(surrogate_SV.shape[1])}
    return Level(state, block, notices=notices, of_samples=found)


def _of(stream: Stream, state: surrogate_variables.State) -> F64:
    """(S, V): the surrogates of the stream's samples, in one pass over their counts."""
    parts = [
        surrogate_variables.surrogates(np.log(block + 1.0), state)
        for chunk in stream.source.chunks(stream.shared)()
        for _, block in dense_rows(chunk.x_SG)
    ]
    return np.concatenate(parts)
