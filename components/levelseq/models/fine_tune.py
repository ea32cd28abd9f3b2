"""Fine-tuning with replay: training goes on with new cells and as many of those it was fitted to.

The replayed cells are the model's anchors' cells. Without them a network forgets what it is not
shown (Rolnick et al. 2019, experience replay); with them the old cells' likelihood stays.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from levelseq.cohort import Cohort, content_key, open_cohort
from levelseq.cohort.joint_counts import JointCounts
from levelseq.cohort.loader import gene_counts
from levelseq.errors import BadAddress
from levelseq.models.adapt import adapt_vae
from levelseq.models.anchors import Anchors
from levelseq.models.anchors_moved import anchors_moved
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.history import unseen_history
from levelseq.models.label_fit import with_labels
from levelseq.models.minibatches import CohortMinibatches, device
from levelseq.models.planning import plan_augmentation, plan_training
from levelseq.models.saving import (
    MODEL,
    SCHEMA,
    load_model,
    read_metrics,
    read_model_json,
    save_model,
)
from levelseq.models.threads import with_helper
from levelseq.models.training import TrainingPlan
from levelseq.models.vae_fit import (
    anchored,
    augmented,
    conditions_of,
    fit_place,
    names_of,
    trained,
    with_evidence,
)
from levelseq.progress import stage
from levelseq.store import join, open_store

__all__ = ["fine_tune", "fine_tune_again", "fine_tune_model"]

EPOCHS = 10
# Of the rate that the model was trained with: weights move little from where they were.
RATE = 0.3


def fine_tune_model(model: str, cohort: str, workspace: str) -> str | None:
    """Go on training a model on a cohort's cells and a replay of its own.

    Returns:
        The address of the new model, whose parent is the old one; at once when it is there. None
        where this would forget something: of a classical model, one that has learned from more than
        one cohort, by labels, or from a cohort that is gone; and where the new cohort lacks genes.
    """
    parent, loaded, opened = read_model_json(model), load_model(model), open_cohort(cohort)
    own = _trained_on(parent, workspace)
    if own is None or not isinstance(loaded, VaeModel):
        return None
    if parent["params"].get("use_labels") or not loaded.space.measured_in(opened)[1].all():
        return None
    content = {"parent": parent["key"], "cohort": opened.fingerprint, "way": "fine-tune"}
    key = content_key({**content, "schema": SCHEMA})
    folder = join(workspace, "models", key)
    store = open_store(folder)
    if store.exists(MODEL):
        return folder
    seed = int(parent["params"].get("seed", 0))
    tuned, metrics = fine_tune(loaded, own, opened, parent["params"])
    before = read_metrics(model)
    whole = before | metrics | {"reasons": [*before["reasons"], *metrics["reasons"]]}
    whole["history"], reference = unseen_history(tuned, own, own.obs(), seed)
    obs = opened.obs()
    reference.knowing(tuned, obs, tuned.embedding(opened, obs)).write(store)
    labelled, found = with_labels(tuned, own, seed)
    if found:
        whole["labels"] = found
    manifest = {"key": key, "params": parent["params"], "cohort": opened.fingerprint}
    save_model(store, labelled, manifest | {"parent": parent["key"]}, whole)
    stage("recalibrate", "fine-tuned", steps=metrics["steps"], replayed=metrics["replayed"])
    return folder


def fine_tune_again(model: str, part: Cohort, workspace: str) -> VaeModel:
    """What `fine_tune_model` gives, with a part of the new cohort; nothing is written.

    Raises:
        BadAddress: the cohort that the model was trained on is gone.
    """
    parent, loaded = read_model_json(model), load_model(model)
    assert isinstance(loaded, VaeModel)  # as fine_tune_model found
    own = open_cohort(join(workspace, "cohorts", str(parent["cohort"])))
    return fine_tune(loaded, own, part, parent["params"])[0]


def fine_tune(
    model: VaeModel, own: Cohort, new: Cohort, params: dict[str, Any]
) -> tuple[VaeModel, dict[str, Any]]:
    """A model trained on from where it was, its anchors' cells where they then lie.

    Args:
        model: stays as it is.
        own: the cohort that it was trained on; its anchors' cells are replayed.
        new: the cohort to learn; of more cells than are replayed a random part.
        params: that the model was trained with; its seed chose the anchors.

    Returns:
        The model, and its metrics: steps, held-out losses, cells replayed, the anchors' move.
    """
    seed = int(params.get("seed", 0))
    adapted = adapt_vae(model, new, new.obs())
    network = copy.deepcopy(adapted.network).to(device())
    replayed = Anchors.choose(int(own.manifest["n_obs"]), seed)
    fresh = np.random.default_rng([seed, 6]).permutation(int(new.manifest["n_obs"]))
    fresh = np.sort(_some_of_each(adapted.tree.leaf_codes(new.obs())[fresh], fresh, len(replayed)))
    chosen = ((own, replayed), (new, fresh))
    nodes = np.concatenate([adapted.tree.node_codes(c.obs())[rows] for c, rows in chosen])
    counts = JointCounts([(gene_counts(each, model.space), rows) for each, rows in chosen])
    terms, _ = plan_augmentation(params.get("augment", "auto"))
    plan = _plan(len(nodes), float(params["learning_rate"]), seed)
    leaf = adapted.tree.leaf_codes(own.obs())[replayed]
    every, condition = np.arange(len(nodes)), conditions_of(chosen)
    names = names_of(chosen, model.space, adapted.tree)
    with with_helper():
        augmentation = augmented(terms, counts, nodes, seed)
        minibatches = CohortMinibatches(counts, nodes, None, augmentation, fused=network.fused)
        progress = trained(network, minibatches, plan, names)
        network.centre(adapted.tree.leaf_nodes)
        place = fit_place(network, minibatches, adapted.tree, nodes, every, seed, condition)
    tuned = replace(adapted, network=network, place=place, labels=None)
    metrics = {
        "steps": progress.step,
        "best_step": progress.best_step,
        "held_out_loss": [round(loss, 4) for loss in progress.held_out_losses],
        "replayed": len(replayed),
        "reasons": [f"fine-tuned on {len(fresh)} new cells with {len(replayed)} replayed"],
    }
    tuned = anchored(tuned, minibatches, np.arange(len(replayed)), leaf, seed)
    of_new = adapted.tree.leaf_codes(new.obs())
    n_F = np.bincount(adapted.tree.leaf_codes(own.obs()), minlength=len(adapted.tree.leaves))
    n_F += np.bincount(of_new, minlength=len(n_F))
    tuned = with_evidence(tuned, minibatches, np.concatenate([leaf, of_new[fresh]]), n_F, seed)
    return tuned, metrics | {"anchors_moved": float(f"{anchors_moved(model, tuned):.6g}")}


def _some_of_each(leaf: Any, cells: Any, at_most: int) -> Any:
    """The first cells of an order, with the first of every leaf among them."""
    firsts = np.unique(leaf, return_index=True)[1]
    order = np.concatenate([firsts, np.setdiff1d(np.arange(len(cells)), firsts)])
    return cells[order[: max(at_most, len(firsts))]]


def _plan(n_cells: int, learning_rate: float, seed: int) -> TrainingPlan:
    sized, _ = plan_training(
        n_cells, steps=0, batch_size=0, learning_rate=RATE * learning_rate, patience=3, seed=seed
    )
    steps = max(1, round(EPOCHS * n_cells / sized.batch_size))
    return replace(sized, steps=min(steps, sized.steps), warmup_steps=1)


def _trained_on(manifest: dict[str, Any], workspace: str) -> Cohort | None:
    """The one cohort that a model has learned from; None where there are more or it is gone."""
    if manifest.get("parent"):
        return None
    try:
        return open_cohort(join(workspace, "cohorts", str(manifest["cohort"])))
    except BadAddress:
        return None
