"""The train step: a cohort's counts and its classical values in, a model out."""

from __future__ import annotations

from typing import Any

from levelseq.cohort import (
    BatchTree,
    Cohort,
    Normalized,
    content_key,
    open_cohort,
    open_normalized,
    why_classical,
)
from levelseq.cohort.gene_space import GeneSpace
from levelseq.errors import BadInput
from levelseq.models.checkpoint import StoreCheckpoints
from levelseq.models.classical_fit import fit_classical
from levelseq.models.history import unseen_history
from levelseq.models.label_fit import with_labels
from levelseq.models.mapping import largest_leaf
from levelseq.models.saving import MODEL, SCHEMA, Model, save_model
from levelseq.models.vae_fit import VaeSettings, fit_vae, plan_latent, plan_training
from levelseq.normalize.state import read_state
from levelseq.progress import notice, stage
from levelseq.store import join, open_store
from levelseq.train.params import TrainParams

__all__ = ["run"]


def run(params: TrainParams, cohort: str, normalized: str, workspace: str) -> str:
    """Fit a model to a cohort.

    Args:
        params: class and sizes.
        cohort: address of the counts.
        normalized: address of a classical method's folder for the same cohort; its variable genes
            and the scale of its size factors are the model's.
        workspace: where `models/<key>/` and `checkpoints/<key>/` are.

    Returns:
        The address of the model; at once when it is there. A killed run goes on from its last
        checkpoint.

    Raises:
        BadInput: no batch level varies, or batch and condition cannot be told apart.
        BadAddress: no cohort, or no values of a classical method, at the address.
    """
    opened, values = open_cohort(cohort), open_normalized(normalized)
    key = content_key(
        {
            "cohort": opened.fingerprint,
            "normalized": values.manifest["key"],
            "params": params.model_dump(exclude={"checkpoint_seconds"}),
            "schema": SCHEMA,
        }
    )
    folder = join(workspace, "models", key)
    store = open_store(folder)
    checkpoints = StoreCheckpoints(
        open_store(join(workspace, "checkpoints", key)), params.checkpoint_seconds
    )
    if store.exists(MODEL):
        checkpoints.remove()
        return folder
    model, metrics = _fit(params, opened, values, checkpoints)
    manifest = {
        "key": key,
        "params": params.model_dump(exclude={"checkpoint_seconds"}),
        "cohort": opened.fingerprint,
        "parent": None,
    }
    obs = opened.obs()
    metrics["largest_leaf"] = largest_leaf(obs, model.tree)
    metrics["history"] = unseen_history(model, opened, obs, params.seed)
    model, found = with_labels(model, opened, params.seed)
    if found:
        metrics["labels"] = found
    if "reason" in found:
        notice("train", found["reason"])
    save_model(store, model, manifest, metrics)
    checkpoints.remove()
    stage("train", f"{model.KIND} written", genes=len(model.space.variable))
    return folder


def _fit(
    params: TrainParams, cohort: Cohort, normalized: Normalized, checkpoints: StoreCheckpoints
) -> tuple[Model, dict[str, Any]]:
    tree = _varying_tree(cohort)
    state = read_state(normalized.address)
    sizes = state.size_factors
    if sizes is None:
        raise BadInput(
            "holds no size factors",
            where=normalized.address,
            do="normalize the cohort by a method with size factors",
        )
    space = GeneSpace.of_cohort(cohort, state.genes, state.variable_genes, sizes.reference_library)
    kind, reason = _choose_class(params, cohort)
    notice("train", reason)
    if kind == "classical":
        model, metrics = fit_classical(cohort, space, tree, sizes, params.seed)
        return model, {**metrics, "reasons": [reason]}
    plan, reasons = plan_training(
        cohort.manifest["n_obs"],
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        patience=params.patience,
        seed=params.seed,
    )
    n_latent, why = plan_latent(cohort.manifest["n_obs"], len(space.variable))
    if params.n_latent:
        n_latent, why = params.n_latent, f"{params.n_latent} latent dimensions, as asked"
    settings = VaeSettings(n_latent, params.n_hidden, params.dropout)
    vae, metrics = fit_vae(cohort, space, tree, settings, plan, checkpoints)
    stage("train", "trained", steps=metrics["steps"], best_step=metrics["best_step"])
    return vae, {**metrics, "reasons": [reason, why, *reasons]}


def _varying_tree(cohort: Cohort) -> BatchTree:
    full = BatchTree.from_obs(cohort.obs(), cohort.batch_levels)
    tree, dropped = full.without_constant_levels()
    if not tree.levels:
        raise BadInput(
            "no batch level varies, so there is nothing to level"
            if full.levels
            else "no batch column is named",
            where="--batch",
            do="name the columns that tell the batches apart, such as 'site>run'",
        )
    for level in dropped:
        notice("train", f"batch level {level!r} has one value and is left out")
    return tree


def _choose_class(params: TrainParams, cohort: Cohort) -> tuple[str, str]:
    """`vae` or `classical`, and why."""
    if params.model_class != "auto":
        return params.model_class, f"model class {params.model_class}, as asked"
    reason = why_classical(cohort)
    if reason:
        return "classical", f"the classical way: {reason}"
    n, library = cohort.manifest["n_obs"], cohort.obs()["n_counts"].median()
    return "vae", f"a conditional VAE: {n} cells, median library {library:,.0f}"
