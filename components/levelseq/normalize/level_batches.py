"""Batch methods on streams of values: their fits in a pass, their rows one by one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import combat, combat_tree, reference_ratio, remove_batch_effect
from levelseq.normalize.columns import Batches, column, covariate_design, reference_mask
from levelseq.normalize.design import Design
from levelseq.normalize.level import Level
from levelseq.normalize.level_design import checked_design, offering
from levelseq.normalize.moments import Moments
from levelseq.normalize.moments_missing import MissingMoments
from levelseq.normalize.params import MethodParams
from levelseq.normalize.stream import Stream

__all__ = [
    "apply_combat",
    "apply_ratio",
    "apply_removal",
    "apply_tree",
    "fit_combat",
    "fit_ratio",
    "fit_removal",
    "fit_tree",
]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]
Columns = tuple[Batches, Design]


def fit_combat(stream: Stream, columns: Columns, params: MethodParams, _: ExitStack) -> Level:
    """ComBat of the stream's values, batch by leaf."""
    batches, design = columns
    reference = batches.reference(params.reference_batch)
    names, coding, lines = checked_design(stream, design, reference)
    z_SK = design.matrix(coding)
    state = combat.fit_moments(
        _moments(stream, design.batch_codes(names), z_SK, len(names)),
        names,
        coding,
        reference_batch=reference,
        mean_only=params.mean_only,
        prior=params.prior,
    )
    told = state.notices()
    if params.mean_only:
        told = [line for line in told if "means are levelled" not in line]
    return _combat(state, design, z_SK, [*lines, *told])


def apply_combat(
    stream: Stream, columns: Columns, _: MethodParams, state: combat.State, __: ExitStack
) -> Level:
    """New samples by frozen shifts and scales; a new batch's are estimated from its samples."""
    design = columns[1]
    z_SK = design.matrix(state.coding)
    new = tuple(sorted(set(design.batch) - set(state.batches)))
    lines = []
    if new:
        moments = _moments(stream, design.batch_codes(new), z_SK, len(new))
        state = combat.extend(state, moments, new)
        some = ", ".join(new[:5])
        lines = [f"shift and scale of {len(new)} new batches come from these samples: {some}"]
    return _combat(state, design, z_SK, lines)


def _combat(state: combat.State, design: Design, z_SK: F64, notices: list[str]) -> Level:
    batch_S = design.batch_codes(state.batches)

    def block(x_SG: F64, rows: slice) -> F64:
        return combat.level(x_SG, batch_S[rows], z_SK[rows], state)

    return Level(state, block, notices=notices)


def _moments(stream: Stream, batch_S: Int, z_SK: F64, n_batches: int) -> Moments:
    """Moments of the samples whose batch has a number."""
    kind = MissingMoments if stream.missing else Moments
    moments = kind(n_batches, len(stream.output), z_SK.shape[1])
    for rows, x_SG in stream.blocks():
        moments.add(x_SG, batch_S[rows], z_SK[rows])
    return moments


def fit_removal(stream: Stream, columns: Columns, params: MethodParams, _: ExitStack) -> Level:
    """Batch differences of linear models removed, the condition and covariates kept."""
    given = _removed(stream, columns, params)
    told: dict[str, Any] = {
        "batch": given.batch,
        "design_SK": covariate_design(columns[1], with_batch=False),
        **given.others,
    }
    with offering(stream, columns[1]) as report:
        if stream.missing:
            x_SG = np.concatenate([chunk.x_SG for chunk in stream.chunks()()])
            state = remove_batch_effect.fit(x_SG, **told)
        else:
            state = remove_batch_effect.fit_streamed(stream.chunks(), stream.n_samples, **told)
    return _removal(state, given, report.warnings)


def apply_removal(
    stream: Stream,
    columns: Columns,
    params: MethodParams,
    state: remove_batch_effect.State,
    _: ExitStack,
) -> Level:
    """New samples of known batches by the frozen shifts."""
    return _removal(state, _removed(stream, columns, params), [])


@dataclass(frozen=True)
class _Removed:
    """What is removed: the batch of each sample, a second one, slopes of numbers."""

    batch: pd.Series
    others: dict[str, Any]

    def of(self, rows: slice) -> tuple[pd.Series, dict[str, Any]]:
        others = {n: None if v is None else v.iloc[rows] for n, v in self.others.items()}
        return self.batch.iloc[rows], others


def _removed(stream: Stream, columns: Columns, params: MethodParams) -> _Removed:
    batches = columns[0]
    obs = stream.source.obs
    second = numbers = None
    if params.second_batch:
        second = pd.Series(column(obs, params.second_batch, "--second-batch", as_text=True))
        second.name = params.second_batch
    if params.removed:
        found = {name: column(obs, name, "--removed", as_text=False) for name in params.removed}
        for name, values in found.items():
            if values.dtype.kind != "f":
                raise BadInput(
                    "is not a number in every sample",
                    where=f"column {name!r}",
                    do="give a column of categories as --second-batch",
                )
        numbers = pd.DataFrame(found)
    batch = pd.Series(batches.names, name=batches.column)
    return _Removed(batch, {"batch2": second, "covariates_SK": numbers})


def _removal(state: remove_batch_effect.State, given: _Removed, lines: list[str]) -> Level:
    def block(x_SG: F64, rows: slice) -> F64:
        batch, others = given.of(rows)
        return remove_batch_effect.apply(x_SG, batch, state, **others)

    return Level(state, block, notices=[*lines, *state.notices()])


def fit_ratio(stream: Stream, columns: Columns, params: MethodParams, _: ExitStack) -> Level:
    """Each batch held against its samples of the reference material."""
    if not params.reference_samples:
        raise BadOption(
            "reference_ratio needs the samples of the reference material",
            where="--reference-samples",
            do="write 'column==value'",
        )
    batches, design = columns
    state = reference_ratio.fit_streamed(
        stream.chunks(), design.batch, _references(stream, params), batch_column=batches.column
    )
    return _ratio(state, design)


def apply_ratio(
    stream: Stream,
    columns: Columns,
    params: MethodParams,
    state: reference_ratio.State,
    _: ExitStack,
) -> Level:
    """New samples by the frozen reference means; new batches bring reference samples along."""
    batches, design = columns
    new = sorted(set(design.batch) - set(state.batches))
    if new:
        state = reference_ratio.extend(
            state,
            stream.chunks(),
            design.batch,
            _references(stream, params),
            batch_column=batches.column,
        )
    return _ratio(state, design)


def _references(stream: Stream, params: MethodParams) -> NDArray[np.bool_]:
    return reference_mask(stream.source.obs, params.reference_samples)


def _ratio(state: reference_ratio.State, design: Design) -> Level:
    batch = np.array(design.batch)

    def block(x_SG: F64, rows: slice) -> F64:
        return reference_ratio.apply(x_SG, list(batch[rows]), state)

    return Level(state, block)


def fit_tree(stream: Stream, columns: Columns, _: MethodParams, __: ExitStack) -> Level:
    """Nested batches, each level shrunk towards its parent."""
    batches, design = columns
    names, coding, lines = checked_design(stream, design)
    tree = batches.tree
    leaves = [tree.leaf_name(leaf) for leaf in tree.leaves]
    assert sorted(leaves) == sorted(names)
    z_SK = design.matrix(coding)
    moments = _moments(stream, design.batch_codes(leaves), z_SK, len(leaves))
    state = combat_tree.fit_moments(moments, tree, coding)
    return _tree(state, columns, [*lines, *state.notices()])


def apply_tree(
    stream: Stream, columns: Columns, _: MethodParams, state: combat_tree.State, __: ExitStack
) -> Level:
    """New samples by their leaf, or by its nearest ancestor that the fit knew."""
    return _tree(state, columns, combat_tree.fallbacks(columns[0].paths, state))


def _tree(state: combat_tree.State, columns: Columns, notices: list[str]) -> Level:
    batches, design = columns
    node_S, z_SK = combat_tree.nodes_of(batches.paths, state), design.matrix(state.coding)

    def block(x_SG: F64, rows: slice) -> F64:
        return combat_tree.level(x_SG, node_S[rows], z_SK[rows], state)

    return Level(state, block, notices=notices)
