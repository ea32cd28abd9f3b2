"""What the drift gates are computed from: a mapped cohort and its model's history."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from levelseq.cohort import BatchTree, Cohort, Normalized
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.drift_reference import DriftReference, quality_of
from levelseq.models.expectation import gene_totals
from levelseq.models.saving import Model, load_model, read_metrics, read_model_json
from levelseq.registry import Baselines, Registry
from levelseq.store import join
from levelseq.validate.drift_decision import DriftTable
from levelseq.validate.drift_measures import (
    GATES,
    QUALITY,
    Reference,
    embedding_measures,
    quality_measures,
)
from levelseq.validate.gates import Gate, not_evaluated
from levelseq.validate.gene_means import relative_ratios, spread, standout

__all__ = ["DriftFound", "judge_drift", "measured", "told_batches"]

_OF_GENES = ("drift.expression", "drift.genes")
_LINEAR = "The classical model's embedding is linear: the shift in it tells all."
_OLDER = "The model was trained before this was measured: train it anew."


class DriftFound(NamedTuple):
    """The drift gates, and the table behind them for `verdict.json`; None without a baseline."""

    gates: list[Gate]
    table: dict[str, Any] | None


def judge_drift(
    cohort: Cohort, normalized: Normalized, model: str, workspace: str, name: str
) -> DriftFound:
    """The drift of a cohort as mapped, against the batches of the training cohort."""
    champion = Registry(workspace, name).champion()
    if champion is None or not Baselines(workspace, name).all():
        return _not_evaluated("This is the first run: there is no baseline yet.")
    manifest = read_model_json(model)
    if not _same_latent_space(workspace, manifest, str(champion["model"])):
        return _not_evaluated(
            "A newly trained model has its own embedding; the baseline's is another."
        )
    loaded, reference = load_model(model), DriftReference.read(model)
    history = read_metrics(model)["history"]
    table = DriftTable(
        told_batches(loaded.tree, cohort),
        measured(loaded, reference, cohort, normalized.embedding()),
        {measure: tuple(values.values()) for measure, values in history.items()},
    )
    aside = dict.fromkeys(GATES, _OLDER) if reference is None else {}
    if not isinstance(loaded, VaeModel):
        aside |= dict.fromkeys(_OF_GENES, _LINEAR)
    return DriftFound(table.gates(aside), table.as_json())


def measured(
    model: Model, reference: DriftReference | None, cohort: Cohort, places: Any
) -> dict[str, tuple[float, ...]]:
    """Measure -> its value of each leaf of a cohort, in the order of the tree.

    Args:
        model: that the cohort was mapped by.
        reference: beside it; None leaves out library quality and `genes`.
        cohort: where counts and library quality are.
        places: (S, Z) levelled embedding.
    """
    obs = cohort.obs()
    quality_SQ, codes = quality_of(obs), model.tree.with_leaves_of(obs).leaf_codes(obs)
    anchors = _anchors(model, reference)
    by_leaf = []
    for leaf in np.unique(codes):
        rows = codes == leaf
        found = embedding_measures(places[rows], anchors)
        if reference is not None:
            found |= quality_measures(places[rows], quality_SQ[rows], anchors)
            found |= {name: found[name] - k for name, k in reference.known(int(leaf)).items()}
        by_leaf.append(found)
    if isinstance(model, VaeModel):
        for found, totals in zip(by_leaf, gene_totals(model, cohort, obs, places).values()):
            found["expression"] = spread(*totals)
            if reference is not None:
                found["genes"] = standout(relative_ratios(*totals), reference.scale_G)
    return {measure: tuple(found[measure] for found in by_leaf) for measure in by_leaf[0]}


def told_batches(tree: BatchTree, cohort: Cohort) -> tuple[str, ...]:
    """Names of a cohort's leaves in the order of the tree."""
    obs = cohort.obs()
    whole = tree.with_leaves_of(obs)
    leaves = [whole.leaves[leaf] for leaf in np.unique(whole.leaf_codes(obs))]
    return tuple(whole.told(leaves, cohort.role("donor")))


def _anchors(model: Model, reference: DriftReference | None) -> Reference:
    if reference is not None:
        return reference.cells(model)
    none = np.full((len(model.anchors.embedding), len(QUALITY)), np.nan)
    return Reference.of(model.anchors.embedding, model.anchors.noise, none)


def _not_evaluated(reason: str) -> DriftFound:
    return DriftFound([not_evaluated(name, reason) for name in GATES], None)


def _same_latent_space(workspace: str, manifest: dict[str, object], champion: str) -> bool:
    """Whether a model is the champion, or was adapted from it."""
    while manifest["key"] != champion:
        if manifest.get("parent") is None:
            return False
        manifest = read_model_json(join(workspace, "models", str(manifest["parent"])))
    return True
