"""Fitting a model of any class to a cohort, and writing it: what training and retraining share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from levelseq.cohort import UNKNOWN, BatchTree, Cohort, why_classical
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.loader import gene_counts
from levelseq.cohort.ordered_levels import choose_ordered
from levelseq.errors import BadInput, BadOption
from levelseq.models.checkpoint import SharedCheckpoints, StoreCheckpoints
from levelseq.models.classical_fit import fit_classical
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.history import unseen_history
from levelseq.models.label_fit import with_labels
from levelseq.models.label_noise import trusted_labels
from levelseq.models.label_transfer import label_codes
from levelseq.models.latent_arithmetic import ArithmeticModel
from levelseq.models.mapping import largest_leaf
from levelseq.models.planning import (
    plan_augmentation,
    plan_latent,
    plan_training,
    why_effects,
    why_likelihood,
)
from levelseq.models.processes import ALONE, Processes
from levelseq.models.saving import Model, save_model
from levelseq.models.style_transfer import StyleModel
from levelseq.models.training import TrainingPlan
from levelseq.models.vae_fit import fit_vae
from levelseq.models.vae_settings import VaeSettings
from levelseq.normalize.size_factors import SizeFactors
from levelseq.progress import notice, stage
from levelseq.store import Store
from levelseq.train.params import TrainParams

__all__ = ["CLASS_OF", "Fitted", "fit_model", "write_model"]

Fitted = tuple[Model, dict[str, Any]]
"""A model and its metrics."""

_NETWORKS: dict[str, type[VaeModel]] = {
    "vae": VaeModel,
    "gan": StyleModel,
    "scgen": ArithmeticModel,
}
CLASS_OF = {kind.KIND: name for name, kind in _NETWORKS.items()} | {"Classical": "classical"}
"""A model's class in `model.json` -> the train step's option."""


def fit_model(
    params: TrainParams,
    cohort: Cohort,
    space: GeneSpace,
    sizes: SizeFactors,
    checkpoints: StoreCheckpoints | None = None,
    processes: Processes = ALONE,
) -> Fitted | None:
    """The model and its metrics; None in all but the first of several processes.

    Args:
        params: class and sizes.
        cohort: the counts.
        space: genes and scale.
        sizes: size factors' frozen reference, which a classical model keeps.
        checkpoints: where training goes on from; None: it starts at its beginning.
        processes: that train together.

    Raises:
        BadInput: no batch level varies, batch and condition cannot be told apart, or a count is
            absurd.
        BadOption: an option has no part in a model of the class.
    """
    tree = _varying_tree(cohort)
    kind, reason = _choose_class(params, cohort)
    params.refuse_without_effect(kind)
    if kind == "classical":
        notice("train", reason)
        if not processes.first:
            return None
        model, metrics = fit_classical(cohort, space, tree, sizes, params.seed)
        return model, {**metrics, "reasons": [reason]}
    plan, settings, (why_sizes, why_plan) = _planned(
        params, cohort.manifest["n_obs"], len(space.variable)
    )
    tree, order = _in_order(tree, cohort, params.ordered)
    notice("train", reason)
    labels, doubts = None, list[str]()
    if params.use_labels:
        labels, doubts = _trusted(_labels(cohort), cohort, space, tree, params.seed)
    shared = SharedCheckpoints(checkpoints, processes) if checkpoints else None
    fitted = fit_vae(
        cohort, space, tree, settings, plan, shared, labels, processes, _NETWORKS[kind]
    )
    if fitted is None:
        return None
    vae, metrics = fitted
    if processes.size > 1:
        why_plan.append(f"trained by {processes.size} processes")
    stage("train", "trained", steps=metrics["steps"], best_step=metrics["best_step"])
    why_plan += doubts
    why_tree = [] if kind == "scgen" else [why_effects(tree, metrics["level_sd"])]
    return vae, {**metrics, "reasons": [reason, *why_sizes, *why_tree, *order, *why_plan]}


def write_model(
    store: Store,
    fitted: Fitted,
    cohort: Cohort,
    manifest: dict[str, Any],
    seed: int,
) -> None:
    """Write a fitted model's folder with its history and labels, `model.json` last.

    Args:
        store: rooted at `models/<key>`.
        fitted: by `fit_model`.
        cohort: that it was fitted to.
        manifest: key, params, cohort and parent.
        seed: of the fit.
    """
    model, metrics = fitted
    obs = cohort.obs()
    metrics["largest_leaf"] = largest_leaf(obs, model.tree)
    metrics["history"], reference = unseen_history(model, cohort, obs, seed)
    reference.write(store)
    model, found = with_labels(model, cohort, seed)
    if found:
        metrics["labels"] = found | {"seen_in_training": bool(manifest["params"]["use_labels"])}
    if "reason" in found:
        notice("train", found["reason"])
    save_model(store, model, manifest, metrics)
    stage("train", f"{model.KIND} written", genes=len(model.space.variable))


def _planned(
    params: TrainParams, n_cells: int, n_genes: int
) -> tuple[TrainingPlan, VaeSettings, tuple[list[str], list[str]]]:
    """How to train, what network, and why: of the network, and of the training."""
    plan, reasons = plan_training(
        n_cells,
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        patience=params.patience,
        seed=params.seed,
    )
    n_latent, why = plan_latent(n_cells, n_genes)
    if params.n_latent:
        n_latent, why = params.n_latent, f"{params.n_latent} latent dimensions, as asked"
    terms, why_terms = plan_augmentation(params.augment)
    settings = VaeSettings(
        n_latent, params.n_hidden, params.dropout, params.likelihood, params.dispersion
    )
    reasons_of = [why, why_likelihood(settings)], [*reasons, why_terms]
    return replace(plan, augmentation=terms), settings, reasons_of


def _labels(cohort: Cohort) -> Any:
    """(S,) number of each observation's label, -1 where it is unknown."""
    column = cohort.role("label")
    if column is None:
        raise BadOption(
            "no label column is named", where="--use-labels", do="name one with --label at ingest"
        )
    names, code = label_codes(cohort.obs()[column].astype(str).tolist(), UNKNOWN)
    if len(names) < 2:
        raise BadOption(
            f"column {column!r} holds {len(names)} known labels, and it takes two",
            where="--use-labels",
            do="leave it out, or name another column with --label at ingest",
        )
    notice("train", "labels shape the embedding", labels=len(names))
    return code


def _trusted(
    label_S: Any, cohort: Cohort, space: GeneSpace, tree: BatchTree, seed: int
) -> tuple[Any, list[str]]:
    """The labels that training is to use, and why not all of them."""
    path_S = np.unique(tree.node_codes(cohort.obs()), axis=0, return_inverse=True)[1].ravel()
    trusted_S = trusted_labels(label_S, gene_counts(cohort, space), path_S, seed)
    left_out = int((trusted_S != label_S).sum())
    if not left_out:
        return label_S, []
    reason = (
        f"{left_out} of {int((label_S >= 0).sum())} labels, which most of a cell's neighbours speak"
        " against, are taken for unknown"
    )
    notice("train", reason)
    return trusted_S, [reason]


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


def _in_order(tree: BatchTree, cohort: Cohort, asked: str) -> tuple[BatchTree, list[str]]:
    """The tree with its ordered levels, and why, if there is anything to say."""
    obs = cohort.obs()
    values = {level: set(obs[level].astype(str)) for level in cohort.batch_levels}
    ordered, reason = choose_ordered(asked, tree.levels, cohort.role("date"), values)
    if reason:
        notice("train", reason)
    return tree.in_order_of(ordered), [reason] if reason else []


def _choose_class(params: TrainParams, cohort: Cohort) -> tuple[str, str]:
    """`classical` or a name of a network's class, and why."""
    if params.model_class != "auto":
        return params.model_class, f"model class {params.model_class}, as asked"
    reason = why_classical(cohort)
    if reason:
        return "classical", f"the classical way: {reason}"
    n, library = cohort.manifest["n_obs"], cohort.obs()["n_counts"].median()
    return "vae", f"a conditional VAE: {n} cells, median library {library:,.0f}"
