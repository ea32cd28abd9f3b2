"""ComBat-seq on streams: fitted gene by gene, given row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize import combat_seq
from levelseq.normalize.columns import Batches
from levelseq.normalize.design import Coding, Design
from levelseq.normalize.design_levels import level_name, matched_levels
from levelseq.normalize.gene_major import gene_major
from levelseq.normalize.level import Level
from levelseq.normalize.level_design import checked_design
from levelseq.normalize.params import MethodParams
from levelseq.normalize.stream import Stream

__all__ = ["State", "apply_combat_seq", "fit_combat_seq"]

F64 = NDArray[np.float64]
Columns = tuple[Batches, Design]


@dataclass(frozen=True)
class State:
    """What a fit froze.

    Attributes:
        adjustment: of the counts.
        coding: levels of the condition, which is its group, and of the covariates, so that new
            samples are coded as those of the fit were, whichever of the levels they have.
    """

    adjustment: combat_seq.State
    coding: Coding

    @property
    def batches(self) -> tuple[str, ...]:
        """Their names."""
        return self.adjustment.batches


def fit_combat_seq(
    stream: Stream, columns: Columns, params: MethodParams, stack: ExitStack
) -> Level:
    """ComBat-seq of all shared genes, the condition as its group."""
    design = columns[1]
    checked = checked_design(stream, _with_groups(design, params.condition))
    given = _given(design, checked.coding, params.condition)
    if given.group is not None:
        # As it was given, since groups that are numbers go in the order of numbers.
        given = given._replace(group=design.covariates[params.condition])
    n_genes = len(stream.shared)
    counts = stack.enter_context(
        gene_major(stream.source.chunks(stream.shared), stream.n_samples, n_genes, np.uint32)
    )

    def blocks() -> Iterator[tuple[slice, NDArray[Any]]]:
        for genes, x_GS in counts.blocks():
            yield genes, x_GS.astype(np.float64)

    options = combat_seq.Options(
        shrink=params.shrink,
        shrink_dispersion=params.shrink_dispersion,
        shrink_genes=params.shrink_genes,
        seed=params.shrink_seed,
    )
    samples = _samples(stream, slice(0, stream.n_samples))
    found = combat_seq.fit_blocks(blocks, stream.n_samples, given, options, samples)
    told = [*checked.notices, *found.notices()]
    return _level(stream, State(found, checked.coding), given, told)


def apply_combat_seq(
    stream: Stream, columns: Columns, params: MethodParams, state: State, _: ExitStack
) -> Level:
    """New samples of known batches by the frozen means and dispersions."""
    return _level(stream, state, _given(columns[1], state.coding, params.condition), [])


def _with_groups(design: Design, condition: str) -> Design:
    """The design whose condition is a category, as ComBat-seq's group is, if it is a number."""
    if condition not in design.covariates:
        return design
    names = [level_name(value) for value in design.covariates[condition]]
    group = np.array(names, dtype=object)
    return replace(design, covariates={**design.covariates, condition: group})


def _given(design: Design, coding: Coding, condition: str) -> combat_seq.Columns:
    """What is told of each sample, by the fit's levels."""
    group = None
    if condition in coding:
        found = matched_levels(design.covariates[condition], coding[condition], condition)
        group = np.array(found, dtype=object)
    rest = {name: levels for name, levels in coding.items() if name != condition}
    return combat_seq.Columns(
        np.array(design.batch),
        group,
        design.matrix(rest) if rest else None,
        design.batch_column,
        condition or "group",
        [f"{name} {level}".strip() for name in rest for level in rest[name][1:] or ("",)],
    )


def _samples(stream: Stream, rows: slice) -> Sequence[str]:
    """What samples are called; those without a name go by their row among all."""
    names = stream.source.names
    if names is None:
        return [f"in row {i}" for i in range(rows.start, rows.stop)]
    return names[rows]


def _level(stream: Stream, state: State, given: combat_seq.Columns, notices: list[str]) -> Level:
    def block(x_SG: F64, rows: slice) -> F64:
        samples = _samples(stream, rows)
        adjusted = combat_seq.apply_columns(x_SG, given.of(rows), state.adjustment, samples)
        return adjusted.astype(np.float64)

    return Level(state, block, stream.shared, notices=notices)
