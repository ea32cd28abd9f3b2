"""The history that a fresh model gives: its own batches, each as if it had come later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from levelseq.cohort import Cohort
from levelseq.models.anchors import Anchors
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.drift_reference import DriftReference, quality_of
from levelseq.models.expectation import as_if_new, gene_totals
from levelseq.models.saving import Model
from levelseq.models.training import split
from levelseq.validate.drift_measures import (
    EMBEDDING,
    QUALITY,
    Reference,
    embedding_measures,
    quality_measures,
)
from levelseq.validate.gene_means import gene_scale, relative_ratios, spread, unseen_standouts

__all__ = ["unseen_history"]

_History = dict[str, dict[str, float]]


def unseen_history(
    model: Model, cohort: Cohort, obs: pd.DataFrame, seed: int
) -> tuple[_History, DriftReference]:
    """For each measure of drift what every leaf would have shown if it were unseen.

    Args:
        model: as fitted; its anchors are those that `Anchors.choose` gives for the seed.
        cohort: that it was fitted to.
        obs: the cohort's observations.
        seed: of the fit.

    Returns:
        Measure -> leaf -> value, and what later batches are compared with. The first leaf of an
        ordered level has no value, since a new one is not the first.
    """
    quality_SQ = quality_of(obs)
    quality_AQ = quality_SQ[Anchors.choose(len(obs), seed)]
    history, scale_G = _as_if_unseen(model, cohort, obs, quality_SQ, quality_AQ)
    seen = model.embedding(cohort, obs)
    if isinstance(model, VaeModel):
        history = _as_untrained(history, model, seen[split(len(obs), seed)[1]], quality_AQ)
    unknown = DriftReference(quality_AQ, np.zeros((0, len(QUALITY))), scale_G)
    finite = {measure: _finite(values) for measure, values in history.items()}
    return finite, unknown.knowing(model, obs, seen)


def _as_if_unseen(
    model: Model, cohort: Cohort, obs: pd.DataFrame, quality_SQ: Any, quality_AQ: Any
) -> tuple[_History, Any]:
    """Of cells and of genes, and the genes' scale (G,); none where no genes are expected."""
    unseen = model.embedding(cohort, obs, unseen=True)
    history = _of_cells(model, obs, unseen, quality_SQ, quality_AQ)
    if not isinstance(model, VaeModel):
        return history, np.zeros(0)
    of_genes, scale_G = _of_genes(model, cohort, obs, unseen)
    return history | of_genes, scale_G


def _of_cells(
    model: Model, obs: pd.DataFrame, unseen: Any, quality_SQ: Any, quality_AQ: Any
) -> _History:
    """Each leaf's cells, placed as if unseen, beside the anchors of the other leaves."""
    codes, anchors, history = model.tree.leaf_codes(obs), model.anchors, _History()
    for number, leaf in enumerate(model.tree.leaves):
        rows, others = codes == number, anchors.leaf != number
        if rows.any() and others.any() and not model.tree.opens_order(number):
            reference = Reference.of(anchors.embedding[others], anchors.noise, quality_AQ[others])
            found = embedding_measures(unseen[rows], reference)
            found |= quality_measures(unseen[rows], quality_SQ[rows], reference)
            for measure, value in found.items():
                history.setdefault(measure, {})[">".join(leaf)] = value
    return history


def _as_untrained(history: _History, model: VaeModel, held_out: Any, quality_AQ: Any) -> _History:
    """With the held-out cells' distance from the anchors added to that of every leaf.

    Cells that were trained on lie nearer to the anchors than new ones do.
    """
    anchors = model.anchors
    gaps = embedding_measures(held_out, Reference.of(anchors.embedding, anchors.noise, quality_AQ))
    wider = {
        measure: {leaf: float(np.hypot(v, np.nan_to_num(gaps[measure]))) for leaf, v in own.items()}
        for measure, own in history.items()
        if measure in EMBEDDING
    }
    return history | wider


def _of_genes(
    model: VaeModel, cohort: Cohort, obs: pd.DataFrame, unseen: Any
) -> tuple[_History, Any]:
    """Of the counts beside those of the parents' means, and the genes' scale (G,)."""
    totals = gene_totals(model, cohort, obs, unseen, unseen=True)
    farther = as_if_new(model.tree)
    relative = {leaf: relative_ratios(*totals[leaf]) for leaf in totals if farther[leaf] > 0}
    relative_BG = np.array(list(relative.values())).reshape(-1, len(model.space.variable))
    history = {
        "expression": {leaf: spread(*pair) * farther[leaf] for leaf, pair in totals.items()},
        "genes": dict(zip(relative, unseen_standouts(relative_BG).tolist())),
    }
    return history, gene_scale(relative_BG)


def _finite(shifts: dict[str, float]) -> dict[str, float]:
    return {leaf: float(f"{shift:.6g}") for leaf, shift in shifts.items() if np.isfinite(shift)}
