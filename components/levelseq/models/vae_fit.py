"""Fitting a network on the batch tree to a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from levelseq.cohort import UNKNOWN, BatchTree, Cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.joint_counts import JointCounts
from levelseq.cohort.loader import GeneCounts, gene_counts
from levelseq.models.anchors import Anchors
from levelseq.models.augmentation import Augmentation
from levelseq.models.cell_mixing import similar_cells
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.embedding import Embedding, latent_states
from levelseq.models.evidence import Evidence
from levelseq.models.expectation import kinds_of
from levelseq.models.label_head import LabelHead
from levelseq.models.minibatches import CohortMinibatches, blocks, device
from levelseq.models.networks import ConditionalVAE
from levelseq.models.not_finite import Names, NotFinite, refuse_absurd_counts
from levelseq.models.processes import ALONE, Processes
from levelseq.models.threads import with_helper
from levelseq.models.training import Checkpoints, Progress, TrainingPlan, split, train_network
from levelseq.models.tree_paths import NodeCounts
from levelseq.models.vae_settings import VaeSettings

__all__ = ["anchored", "augmented", "conditions_of", "fit_place", "fit_vae", "with_evidence"]


CELLS_OF_LEAF = 500
"""That its offsets in latent space are estimated from, where it has as many."""


def fit_vae(
    cohort: Cohort,
    space: GeneSpace,
    tree: BatchTree,
    settings: VaeSettings,
    plan: TrainingPlan,
    checkpoints: Checkpoints | None,
    label_S: Any | None = None,
    processes: Processes = ALONE,
    kind: type[VaeModel] = VaeModel,
) -> tuple[VaeModel, dict[str, Any]] | None:
    """Train on a cohort's counts a network of the model's kind.

    Labels (-1: unknown), if given, shape latent states and the embedding's metric.

    Returns:
        The model, and its metrics: steps done, best step, held-out loss after each epoch. None in
        all but the first of several processes.

    Raises:
        BadInput: a count is absurd, or the loss is not a number; the gene and the batch are named.
    """
    obs = cohort.obs()
    counts = gene_counts(cohort, space)
    with with_helper():
        names = names_of([(cohort, np.arange(cohort.manifest["n_obs"]))], space, tree)
        refuse_absurd_counts(counts, names)
        torch.manual_seed(plan.seed)
        counted = NodeCounts.of_tree(tree)
        network = kind.NETWORK(len(space.variable), counted, settings).to(device())
        if label_S is not None and (label_S >= 0).any():
            network.label_head = LabelHead(settings.n_latent, int(label_S.max()) + 1).to(device())
        nodes = tree.node_codes(obs)
        augmentation = augmented(plan.augmentation, counts, nodes, plan.seed)
        minibatches = CohortMinibatches(
            counts, nodes, None, augmentation, label_S, fused=network.fused
        )
        progress = trained(network, minibatches, plan, names, checkpoints, processes)
        network.label_head = None
        if not processes.first:
            return None
        network.centre(tree.leaf_nodes)
        mean_scaled = _mean_scaled(minibatches, len(nodes), network.n_genes)
        chosen = Anchors.choose(len(nodes), plan.seed)
        told = conditions_of([(cohort, chosen)]), None if label_S is None else label_S[chosen]
        place = fit_place(network, minibatches, tree, nodes, chosen, plan.seed, *told)
        place = _with_small_leaves(place, network, minibatches, tree, nodes, chosen, plan.seed)
        model = kind(network, space, tree, Anchors.none(), mean_scaled, place)
        # A leaf's number is that of its node on the last level.
        leaf_S = nodes[:, -1]
        model = anchored(model, minibatches, chosen, leaf_S[chosen], plan.seed)
        model = with_evidence(model, minibatches, leaf_S, np.bincount(leaf_S), plan.seed)
    metrics = {
        "steps": progress.step,
        "best_step": progress.best_step,
        "held_out_loss": [round(loss, 4) for loss in progress.held_out_losses],
        "level_sd": _level_sd(network, tree),
    }
    return model, metrics


def _level_sd(network: ConditionalVAE, tree: BatchTree) -> dict[str, float]:
    """The learned standard deviation of genes' effects on each level, in log fold changes."""
    precisions = network.gene_nodes.precisions()
    return {level: float(f"{p**-0.5:.3g}") for level, p in zip(tree.levels, precisions)}


def augmented(
    terms: tuple[str, ...], counts: GeneCounts | JointCounts, node_SL: Any, seed: int
) -> Augmentation:
    """What some terms of `augmentation.TERMS` change in these observations."""
    partners = None
    if "mixing" in terms:
        path_S = np.unique(node_SL, axis=0, return_inverse=True)[1].ravel()
        partners = similar_cells(counts, path_S, split(len(path_S), seed)[0], seed)
    return Augmentation(
        thinning="thinning" in terms,
        gene_drop="gene_drop" in terms,
        style_swap="style_swap" in terms,
        partners=partners,
    )


def fit_place(
    network: ConditionalVAE,
    minibatches: CohortMinibatches,
    tree: BatchTree,
    node_SL: Any,
    cells: Any,
    seed: int,
    condition_C: Any | None = None,
    label_C: Any | None = None,
) -> Embedding:
    """The levelled embedding of some cells' latent states.

    Args:
        network: trained.
        minibatches: the cells' tensors.
        tree: the model's.
        node_SL: (observations, levels) numbers of their nodes.
        cells: numbers of the C observations to fit it to.
        seed: of the fit.
        condition_C, label_C: their conditions and labels, see `ClusterMetric.fit`.
    """
    latent = latent_states(network, minibatches, cells)
    counted = NodeCounts.of_tree(tree)
    return Embedding.fit(network, latent, node_SL[cells], counted, seed, condition_C, label_C)


def _with_small_leaves(
    place: Embedding,
    network: ConditionalVAE,
    minibatches: CohortMinibatches,
    tree: BatchTree,
    node_SL: Any,
    chosen: Any,
    seed: int,
) -> Embedding:
    """With offsets of the leaves that a sample shows too little of, estimated from more cells."""
    leaf_S, order = node_SL[:, -1], np.random.default_rng([seed, 9]).permutation(len(node_SL))
    shown_F, size_F = (
        np.bincount(leaf, minlength=len(tree.leaves)) for leaf in (leaf_S[chosen], leaf_S)
    )
    for leaf in np.flatnonzero(shown_F < np.minimum(size_F, CELLS_OF_LEAF)):
        cells = np.sort(order[leaf_S[order] == leaf][:CELLS_OF_LEAF])
        latent = latent_states(network, minibatches, cells)
        place = place.with_leaf_of(latent, node_SL[cells[0]], NodeCounts.of_tree(tree))
    return place


def conditions_of(parts: Sequence[tuple[Cohort, Any]]) -> Any | None:
    """(C,) numbers of the conditions of some rows of cohorts; None where one tells of none.

    What is unknown is taken for the commonest: it is no condition of its own, to be kept apart.
    """
    found = []
    for cohort, rows in parts:
        obs, role = cohort.obs(), cohort.role("condition")
        if role is None or role not in obs.columns:
            return None
        found.append(obs[role].astype(str).to_numpy(dtype=str)[rows])
    names, code = np.unique(np.concatenate(found), return_inverse=True)
    known = ~np.isin(names, UNKNOWN)
    if not known.any():
        return None
    commonest = int(np.argmax(np.bincount(code, minlength=len(names)) * known))
    return np.where(known[code], code, commonest)


def anchored(
    model: VaeModel, minibatches: CohortMinibatches, cells: Any, leaf: Any, seed: int
) -> VaeModel:
    """A model with some cells as its anchors.

    Args:
        model: with its embedding.
        minibatches: the cells' tensors.
        cells: numbers of the observations.
        leaf: number of each one's leaf.
        seed: of the draws that tell a place's noise.
    """
    noise = _noise(model, minibatches, cells, seed)
    latent = model.latent(minibatches, cells)
    anchors = Anchors.of(latent, model.embed(minibatches, cells), leaf, noise)
    return replace(model, anchors=anchors)


def with_evidence(
    model: VaeModel, minibatches: CohortMinibatches, leaf_S: Any, n_F: Any, seed: int
) -> VaeModel:
    """A model that knows how much of each kind of cells each of its batches has shown.

    Args:
        model: with its anchors.
        minibatches: tensors of the S cells that it was fitted to.
        leaf_S: number of each one's leaf.
        n_F: cells of each leaf that the S stand for.
        seed: of the choice of cells that are looked at.
    """
    anchors, n_leaves = model.anchors, len(model.tree.leaves)
    evidence = Evidence.of(kinds_of(model), anchors.latent, n_leaves)
    order = np.random.default_rng([seed, 8]).permutation(len(leaf_S))
    of_each = max(Evidence.MOST_CELLS // n_leaves, Evidence.FEWEST_OF_LEAF)
    rows = np.sort(order[pd.Series(leaf_S[order]).groupby(leaf_S[order]).cumcount() < of_each])
    weight_F = np.zeros(n_leaves)
    weight_F[: len(n_F)] = n_F
    weight_F /= np.maximum(np.bincount(leaf_S[rows], minlength=n_leaves), 1)
    place, library, leaf = model.embed(minibatches, rows), minibatches.library(rows), leaf_S[rows]
    return replace(model, evidence=evidence.having_seen(leaf, place, library, weight_F[leaf]))


def trained(
    network: ConditionalVAE,
    minibatches: CohortMinibatches,
    plan: TrainingPlan,
    names: Names,
    checkpoints: Checkpoints | None = None,
    processes: Processes = ALONE,
) -> Progress:
    """`train_network`, whose error names the gene and the batch where a loss is not a number."""
    try:
        return train_network(network, minibatches, plan, checkpoints, processes)
    except NotFinite as error:
        batch = minibatches.tensors(error.observations)
        raise names.explained(error, network, batch) from error


def names_of(parts: Sequence[tuple[Cohort, Any]], space: GeneSpace, tree: BatchTree) -> Names:
    """What an error may say of some rows of cohorts: no level that tells donors apart."""

    def batch_of(observation: int) -> list[str]:
        for cohort, rows in parts:
            if observation < len(rows):
                path = tree.paths(cohort.obs().iloc[[rows[observation]]])[0]
                named = zip(tree.levels, path)
                return [value for level, value in named if level != cohort.role("donor")]
            observation -= len(rows)
        raise IndexError(observation)

    return Names(space.variable, batch_of)


def _mean_scaled(minibatches: CohortMinibatches, n_cells: int, n_genes: int) -> Any:
    total = torch.zeros(n_genes, dtype=torch.float64)
    for part in blocks(np.arange(n_cells)):
        total += minibatches.tensors(part).scaled_BG.double().sum(dim=0).cpu()
    return (total / n_cells).float().numpy()


def _noise(model: VaeModel, minibatches: CohortMinibatches, cells: Any, seed: int) -> Any:
    """(D,) mean variance of a cell's place in the embedding over draws of its latent state."""
    torch.manual_seed(seed)
    squares, n = 0.0, 0
    for part in blocks(cells):
        batch = minibatches.tensors(part)
        mean, log_variance = model.encode(batch)
        drawn = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        moved = model.project(batch, drawn) - model.project(batch, mean)
        squares, n = squares + (moved**2).sum(axis=0), n + len(part)
    return np.asarray(squares / n, dtype=np.float32)
