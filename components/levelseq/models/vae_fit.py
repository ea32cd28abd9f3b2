"""Fitting the conditional VAE to a cohort."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from levelseq.cohort import BatchTree, Cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.loader import GeneCounts
from levelseq.errors import BadOption
from levelseq.models.anchors import Anchors
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.embedding import Embedding, encoded
from levelseq.models.minibatches import CohortMinibatches, blocks, device
from levelseq.models.networks import ConditionalVAE
from levelseq.models.not_finite import Names, NotFinite, refuse_absurd_counts
from levelseq.models.processes import ALONE, Processes
from levelseq.models.threads import with_helper
from levelseq.models.training import Checkpoints, Progress, TrainingPlan, train_network

__all__ = ["VaeSettings", "anchored", "fit_place", "fit_vae", "plan_latent", "plan_training"]

CELLS_SEEN = 150_000
EPOCHS = (10, 60)
# Cells up to which a minibatch has so many.
BATCH_SIZES = ((4_000, 64), (40_000, 128), (400_000, 512), (None, 1024))
LATENT = (10, 30)
WARMUP = 0.3
FEWEST_IN_MINIBATCH = 16


@dataclass(frozen=True)
class VaeSettings:
    """Sizes of the network."""

    n_latent: int
    n_hidden: int
    dropout: float


def plan_training(
    n_cells: int, *, steps: int, batch_size: int, learning_rate: float, patience: int, seed: int
) -> tuple[TrainingPlan, list[str]]:
    """The training plan for a number of cells, and why it is so."""
    reasons = []
    if 0 < batch_size < FEWEST_IN_MINIBATCH:
        raise BadOption(
            f"{batch_size} cells are too few for a minibatch",
            where="--batch-size",
            do=f"give at least {FEWEST_IN_MINIBATCH}, or 0 to have it chosen",
        )
    if not batch_size:
        batch_size = next(size for most, size in BATCH_SIZES if most is None or n_cells <= most)
        reasons.append(
            f"{batch_size} cells in a minibatch: 64 up to 4,000 cells, since few cells need many"
            " small steps, up to 1,024 for millions"
        )
    if not steps:
        epochs = min(max(CELLS_SEEN / n_cells, EPOCHS[0]), EPOCHS[1])
        steps = max(1, round(epochs * n_cells / batch_size))
        reasons.append(
            f"{steps} steps of {batch_size} cells, {epochs:.0f} epochs of {n_cells} cells: "
            f"{CELLS_SEEN:,} cells seen, within {EPOCHS[0]} to {EPOCHS[1]} epochs"
        )
    warmup = max(1, round(WARMUP * steps))
    reasons.append(f"KL weight rises to 1 over {warmup} steps, {WARMUP:.0%} of those planned")
    plan = TrainingPlan(steps, batch_size, learning_rate, warmup, patience, seed)
    return plan, reasons


def plan_latent(n_cells: int, n_genes: int) -> tuple[int, str]:
    """Dimensions of the latent space, and why so many.

    Ten for a thousand cells, five more for each tenfold; between 10 and 30, and fewer than genes.
    More than the cells can fill hold noise, which blurs small differences between types.
    """
    by_cells = round(5 * np.log10(max(n_cells, 1)) - 5)
    n_latent = int(np.clip(by_cells, *LATENT))
    reason = (
        f"{n_latent} latent dimensions: 10 for 1,000 cells, 5 more for each tenfold, at most 30"
    )
    if n_latent >= n_genes:
        n_latent = max(2, n_genes // 2)
        reason = f"{n_latent} latent dimensions: half of {n_genes} genes"
    return n_latent, reason


def fit_vae(
    cohort: Cohort,
    space: GeneSpace,
    tree: BatchTree,
    settings: VaeSettings,
    plan: TrainingPlan,
    checkpoints: Checkpoints | None,
    label_S: Any | None = None,
    processes: Processes = ALONE,
) -> tuple[VaeModel, dict[str, Any]] | None:
    """Train on a cohort's counts; labels (-1: unknown), if given, shape the embedding's metric.

    Returns:
        The model, and its metrics: steps done, best step, held-out loss after each epoch. None in
        all but the first of several processes.

    Raises:
        BadInput: a count is absurd, or the loss is not a number; the gene and the batch are named.
    """
    obs = cohort.obs()
    with GeneCounts(cohort, space) as counts, with_helper():
        names = _names(cohort, space, tree)
        refuse_absurd_counts(counts, names)
        torch.manual_seed(plan.seed)
        network = ConditionalVAE(
            len(space.variable),
            [len(nodes) for nodes in tree.nodes],
            settings.n_hidden,
            settings.n_latent,
            settings.dropout,
        ).to(device())
        nodes = tree.node_codes(obs)
        minibatches = CohortMinibatches(counts, nodes)
        progress = _trained(network, minibatches, plan, checkpoints, processes, names)
        if not processes.first:
            return None
        mean_scaled = _mean_scaled(minibatches, len(obs), len(space.variable))
        chosen = Anchors.choose(len(obs), plan.seed)
        place = fit_place(network, minibatches, nodes, chosen, plan.seed, label_S)
        unanchored = VaeModel(network, space, tree, Anchors.none(), mean_scaled, place)
        leaf = tree.leaf_codes(obs)[chosen]
        model = anchored(unanchored, minibatches, chosen, leaf, plan.seed)
    metrics = {
        "steps": progress.step,
        "best_step": progress.best_step,
        "held_out_loss": [round(loss, 4) for loss in progress.held_out_losses],
    }
    return model, metrics


def fit_place(
    network: ConditionalVAE,
    minibatches: CohortMinibatches,
    node_SL: Any,
    cells: Any,
    seed: int,
    label_S: Any | None = None,
) -> Embedding:
    """The levelled embedding of some cells' latent states.

    Args:
        network: trained.
        minibatches: the cells' tensors.
        node_SL: (observations, levels) numbers of their nodes.
        cells: numbers of the observations to fit it to.
        seed: of the fit.
        label_S: labels that shape the metric, -1 where unknown.
    """
    label_C = None if label_S is None else label_S[cells]
    latent = _latent(network, minibatches, cells)
    return Embedding.fit(latent, node_SL[cells], network.n_nodes, seed, label_C)


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
    latent = _latent(model.network, minibatches, cells)
    anchors = Anchors.of(latent, model.embed(minibatches, cells), leaf, noise)
    return replace(model, anchors=anchors)


def _latent(network: ConditionalVAE, minibatches: CohortMinibatches, cells: Any) -> Any:
    parts = [encoded(network, minibatches, part)[1].cpu().numpy() for part in blocks(cells)]
    return np.concatenate(parts)


def _trained(
    network: ConditionalVAE,
    minibatches: CohortMinibatches,
    plan: TrainingPlan,
    checkpoints: Checkpoints | None,
    processes: Processes,
    names: Names,
) -> Progress:
    try:
        return train_network(network, minibatches, plan, checkpoints, processes)
    except NotFinite as error:
        batch = minibatches.tensors(error.observations)
        raise names.explained(error, network, batch) from error


def _names(cohort: Cohort, space: GeneSpace, tree: BatchTree) -> Names:
    """What an error may say: a level of the tree that tells donors apart is left out."""
    shown = [i for i, level in enumerate(tree.levels) if level != cohort.role("donor")]
    paths = tree.paths(cohort.obs())
    return Names(space.variable, [tuple(path[i] for i in shown) for path in paths])


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
        with torch.no_grad():
            mean, log_variance = model.network.encode(batch.scaled_BG, batch.node_BL)
            drawn = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        moved = model.project(batch, drawn) - model.project(batch, mean)
        squares, n = squares + (moved**2).sum(axis=0), n + len(part)
    return np.asarray(squares / n, dtype=np.float32)
