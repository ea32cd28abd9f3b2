"""ComBat-seq on streams: fitted gene by gene, given row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize import combat_seq
from levelseq.normalize.columns import Batches
from levelseq.normalize.design import Design, check_design
from levelseq.normalize.gene_major import gene_major
from levelseq.normalize.level import Level
from levelseq.normalize.level_batches import design_notices
from levelseq.normalize.params import MethodParams
from levelseq.normalize.stream import Stream

__all__ = ["apply_combat_seq", "fit_combat_seq"]

F64 = NDArray[np.float64]
Columns = tuple[Batches, Design]


def fit_combat_seq(
    stream: Stream, columns: Columns, params: MethodParams, stack: ExitStack
) -> Level:
    """ComBat-seq of all shared genes, the condition as its group."""
    design = columns[1]
    check_design(design, names=stream.source.names)
    given = _given(design, params)
    n_genes = len(stream.shared)
    counts = stack.enter_context(
        gene_major(stream.source.chunks(stream.shared), stream.n_samples, n_genes, np.uint32)
    )

    def blocks() -> Iterator[tuple[slice, NDArray[Any]]]:
        for genes, x_GS in counts.blocks():
            yield genes, x_GS.astype(np.float64)

    state = combat_seq.fit_blocks(
        blocks,
        stream.n_samples,
        given,
        combat_seq.Options(shrink=params.shrink, shrink_dispersion=params.shrink),
        stream.source.names,
    )
    left = int((~state.adjusted_G).sum())
    told = [f"{left} of {n_genes} genes have no counts in some batch and are left as they are"]
    lines = design_notices(design, stream)
    return _level(stream, state, given, [*lines, *(told if left else [])])


def apply_combat_seq(
    stream: Stream, columns: Columns, params: MethodParams, state: combat_seq.State, _: ExitStack
) -> Level:
    """New samples of known batches by the frozen means and dispersions."""
    return _level(stream, state, _given(columns[1], params), [])


def _given(design: Design, params: MethodParams) -> tuple[Any, Any, Any]:
    """Batch, group and columns of covariates of each sample."""
    coding = design.coding()
    group = None
    if params.condition in coding:
        group = np.array([str(value) for value in design.covariates[params.condition]])
    rest = {name: levels for name, levels in coding.items() if name != params.condition}
    return np.array(design.batch), group, design.matrix(rest) if rest else None


def _level(
    stream: Stream, state: combat_seq.State, given: tuple[Any, Any, Any], notices: list[str]
) -> Level:
    names = stream.source.names

    def block(x_SG: F64, rows: slice) -> F64:
        batch, group, covariates = (None if part is None else part[rows] for part in given)
        adjusted = combat_seq.apply(
            x_SG,
            batch,
            state,
            group=group,
            covariates=covariates,
            samples=None if names is None else names[rows],
        )
        return adjusted.astype(np.float64)

    return Level(state, block, stream.shared, notices=notices)
