"""What is done to values after they are made: batches levelled, distributions made the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from levelseq.normalize import (
    combat,
    combat_tree,
    level_batches,
    level_counts,
    level_rows,
    level_surrogates,
    quantile,
    reference_ratio,
    remove_batch_effect,
    voom,
)
from levelseq.normalize.columns import Batches
from levelseq.normalize.design import Design
from levelseq.normalize.level import Level
from levelseq.normalize.params import MethodParams
from levelseq.normalize.stream import Stream

__all__ = ["STATES", "apply", "fit"]

Columns = tuple[Batches, Design] | None

STATES: dict[str, type[Any]] = {
    "quantile": quantile.State,
    "combat": combat.State,
    "combat_tree": combat_tree.State,
    "combat_seq": level_counts.State,
    "remove_batch_effect": remove_batch_effect.State,
    "svaseq": level_surrogates.State,
    "reference_ratio": reference_ratio.State,
    "voom": voom.State,
}
_FITS: dict[str, Callable[..., Level]] = {
    "quantile": level_rows.fit_quantile,
    "voom": level_rows.fit_voom,
    "combat": level_batches.fit_combat,
    "combat_tree": level_batches.fit_tree,
    "remove_batch_effect": level_batches.fit_removal,
    "reference_ratio": level_batches.fit_ratio,
    "svaseq": level_surrogates.fit_surrogates,
    "combat_seq": level_counts.fit_combat_seq,
}
_APPLIES: dict[str, Callable[..., Level]] = {
    "quantile": level_rows.apply_quantile,
    "voom": level_rows.apply_voom,
    "combat": level_batches.apply_combat,
    "combat_tree": level_batches.apply_tree,
    "remove_batch_effect": level_batches.apply_removal,
    "reference_ratio": level_batches.apply_ratio,
    "svaseq": level_surrogates.apply_surrogates,
    "combat_seq": level_counts.apply_combat_seq,
}


def fit(
    name: str, stream: Stream, columns: Columns, params: MethodParams, stack: ExitStack
) -> Level | None:
    """The levelling of a method, fitted; None for a method that has none.

    Args:
        name: of the method.
        stream: the values before it.
        columns: batches and covariates, where the method looks at any.
        params: its choices.
        stack: closes what lies on disk.

    Raises:
        BadInput: it is not defined for these values, batches or covariates.
    """
    known = _FITS.get(name)
    return known(stream, columns, params, stack) if known else None


def apply(
    name: str, stream: Stream, columns: Columns, params: MethodParams, state: Any, stack: ExitStack
) -> Level | None:
    """The levelling of new samples by a frozen state; arguments as for `fit`.

    Raises:
        BadInput: a batch, covariate or gene cannot be brought to the fit.
    """
    known = _APPLIES.get(name)
    return known(stream, columns, params, state, stack) if known else None
