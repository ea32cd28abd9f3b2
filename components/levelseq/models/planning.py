"""How long, how fast and how large: what an expert would choose for a number of cells, and why."""

from __future__ import annotations

import numpy as np

from levelseq.cohort import BatchTree
from levelseq.errors import BadOption
from levelseq.models.augmentation import parse_terms
from levelseq.models.training import TrainingPlan
from levelseq.models.vae_settings import VaeSettings
from levelseq.train.params import TrainParams

__all__ = ["plan_augmentation", "plan_latent", "plan_training", "why_effects", "why_likelihood"]

CELLS_SEEN = 150_000
EPOCHS = (10, 60)
# Cells up to which a minibatch has so many.
BATCH_SIZES = ((4_000, 64), (40_000, 128), (400_000, 512), (None, 1024))
LATENT = (10, 30)
WARMUP = 0.3
AUGMENTATION = ("thinning",)
FEWEST_IN_MINIBATCH = 16


def plan_training(
    n_cells: int, *, steps: int, batch_size: int, learning_rate: float, patience: int, seed: int
) -> tuple[TrainingPlan, list[str]]:
    """The training plan for a number of cells, and why it is so."""
    reasons = []
    if batch_size:
        reasons.append(f"{batch_size} cells in a minibatch, as asked")
    if steps:
        reasons.append(f"{steps} steps, as asked")
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
    usual = learning_rate == TrainParams.model_fields["learning_rate"].default
    reasons.append(
        f"learning rate of {learning_rate:g} at the peak of one cycle, "
        + (
            "whatever the cells: batch normalization bears it, and few epochs need it"
            if usual
            else "as asked"
        )
    )
    warmup = max(1, round(WARMUP * steps))
    rest = (steps - warmup) * batch_size / n_cells
    reasons.append(
        f"{patience} epochs without a better held-out loss after the warm-up end it"
        if patience < rest
        else f"the cycle is run to its end: most of its gain comes as the rate falls, in fewer than"
        f" {patience} epochs"
    )
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


def plan_augmentation(augment: str) -> tuple[tuple[str, ...], str]:
    """The terms of `augmentation` to train with, and why these.

    Args:
        augment: as `parse_terms` reads it; 'auto': what helped in `make bench-ablation`.
    """
    if augment == "auto":
        reason = (
            "counts thinned for the encoder, which tells cells of half the depth better in the"
            " ablation; other augmentation is no default"
        )
        return AUGMENTATION, reason
    terms = parse_terms(augment)
    return terms, f"augmentation: {', '.join(terms) or 'none'}, as asked"


def why_effects(tree: BatchTree, level_sd: dict[str, float]) -> str:
    """What the network has learned of the batch tree.

    Args:
        tree: whose nodes have effects.
        level_sd: how far the nodes of its levels differ, as far as that was learned.
    """
    nodes = ", ".join(f"{len(nodes)} of {level}" for level, nodes in zip(tree.levels, tree.nodes))
    found = ", ".join(f"{level} {sd:g}" for level, sd in level_sd.items())
    learned = f": standard deviations of log fold changes are {found}" if found else ""
    return (
        f"effects of {nodes}; how far the nodes of a level differ is learned, not chosen{learned}"
    )


def why_likelihood(settings: VaeSettings) -> str:
    """What the likelihood of counts is, and what that costs."""
    kind = (
        "negative binomial: counts of UMIs have no more zeros than it gives (Svensson 2020)"
        if settings.likelihood == "nb"
        else "zero-inflated negative binomial, as asked: expected expression is of the counts that "
        "are left when some are lost"
    )
    dispersion = "one dispersion of each gene"
    if settings.dispersion != "gene":
        dispersion = "as asked, dispersions change along the batch tree"
    cost = "" if settings.fused else "; a step takes longer than that of a plain negative binomial"
    return f"{kind}; {dispersion}{cost}"
