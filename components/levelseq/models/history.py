"""The history that a fresh model gives: its own batches, each as if it had come later."""

from __future__ import annotations

import numpy as np
import pandas as pd

from levelseq.cohort import Cohort
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.expectation import gene_shifts
from levelseq.models.saving import Model
from levelseq.models.training import split
from levelseq.validate.drift import Prototypes, latent_shift

__all__ = ["unseen_history"]


def unseen_history(
    model: Model, cohort: Cohort, obs: pd.DataFrame, seed: int
) -> dict[str, dict[str, float]]:
    """For each leaf of the training cohort the shifts that it would have shown if it were unseen.

    Returns:
        `latent` and, by a VAE, `expression`: leaf -> shift. The first leaf of an ordered level has
        none, since a new one is not the first. To the latent shift of every leaf
        that of the held-out cells is added, since cells that were trained on lie nearer to the
        anchors than new ones.
    """
    places, codes = model.embedding(cohort, obs, unseen=True), model.tree.leaf_codes(obs)
    anchors, shifts = model.anchors, {}
    for number, leaf in enumerate(model.tree.leaves):
        others = anchors.embedding[anchors.leaf != number]
        if len(others) and not model.tree.opens_order(number):
            kinds = Prototypes.of(others, anchors.noise)
            shifts[">".join(leaf)] = latent_shift(places[codes == number], kinds)
    if not isinstance(model, VaeModel):
        return {"latent": _finite(shifts)}
    held_out = split(len(obs), seed)[1]
    kinds = Prototypes.of(anchors.embedding, anchors.noise)
    gap = latent_shift(model.embedding(cohort, obs)[held_out], kinds)
    gap = gap if np.isfinite(gap) else 0.0
    return {
        "latent": _finite({leaf: float(np.hypot(shift, gap)) for leaf, shift in shifts.items()}),
        "expression": _finite(gene_shifts(model, cohort, obs, unseen=True)),
    }


def _finite(shifts: dict[str, float]) -> dict[str, float]:
    return {leaf: float(f"{shift:.6g}") for leaf, shift in shifts.items() if np.isfinite(shift)}
