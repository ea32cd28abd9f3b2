"""What a batch's counts show beside what the model expects of cells of the same kinds.

Shapes: S observations, P kinds of cells (prototypes of the anchors), G variable genes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from levelseq.cohort import BatchTree, Cohort
from levelseq.cohort.loader import gene_counts
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.minibatches import CohortMinibatches, blocks
from levelseq.validate.drift import Prototypes

__all__ = ["as_if_new", "gene_totals", "kind_profiles", "kinds_of", "observed_and_expected"]


def kinds_of(model: VaeModel) -> Prototypes:
    """The kinds of cells among a model's anchors."""
    return Prototypes.of(model.anchors.embedding, model.anchors.noise)


def kind_profiles(model: VaeModel, kinds: Prototypes, nodes: Tensor) -> Tensor:
    """(P, G): mean share of each gene among the anchors of each kind, at some nodes of the tree.

    Of the counts that are expected, those that zero inflation takes left out.
    """
    latent = torch.as_tensor(model.anchors.latent).to(nodes.device)
    rho_AG = model.log_shares(latent, nodes.expand(len(latent), -1)).exp()
    return torch.stack([rho_AG[kinds.member == p].mean(dim=0) for p in range(len(kinds.size))])


def observed_and_expected(
    minibatches: CohortMinibatches, rows: Any, kind_B: Any, profile_PG: Tensor
) -> tuple[Tensor, Tensor]:
    """(G,) counts of some observations, and what as many counts of their kinds would be."""
    observed, expected = torch.zeros_like(profile_PG[0]), torch.zeros_like(profile_PG[0])
    for part, kind in zip(blocks(rows), blocks(kind_B)):
        counts_BG = minibatches.tensors(part).counts_BG
        observed += counts_BG.sum(dim=0)
        library_B1 = counts_BG.sum(dim=1, keepdim=True)
        expected += (library_B1 * profile_PG[torch.as_tensor(kind)]).sum(dim=0)
    measured_G = minibatches.measured().to(expected.device)
    expected *= measured_G
    return observed, expected * (observed.sum() / expected.sum().clamp(min=1e-12))


def gene_totals(
    model: VaeModel, cohort: Cohort, obs: pd.DataFrame, places: Any, *, unseen: bool = False
) -> dict[str, tuple[Any, Any]]:
    """For each leaf (G,) its counts, and as many as its kinds of cells would show.

    Args:
        model: a leaf that its tree lacks is expected to be as its parent's mean, or on an ordered
            level as the latest earlier leaf.
        cohort: where the counts are.
        obs: its observations.
        places: (S, D) where they lie in the embedding, which tells their kinds.
        unseen: take every leaf for its parent's mean. A leaf that follows another on an ordered
            level has no part in where that one lies.
    """
    tree = model.tree.with_leaves_of(obs)
    codes, nodes = tree.leaf_codes(obs), model.tree.node_codes(obs)
    if unseen:
        nodes = model.tree.as_unseen(nodes)
    kinds, totals = kinds_of(model), {}
    counts = gene_counts(cohort, model.space)
    with torch.no_grad():
        minibatches = CohortMinibatches(counts, nodes, model.mean_scaled_G)
        for leaf in np.unique(codes):
            rows = np.flatnonzero(codes == leaf)
            at = torch.as_tensor(nodes[rows[0]]).to(next(model.network.parameters()).device)
            profile_PG = kind_profiles(model, kinds, at)
            kind_B = kinds.nearest(places[rows])
            pair = observed_and_expected(minibatches, rows, kind_B, profile_PG)
            observed, expected = (counted.cpu().double().numpy() for counted in pair)
            totals[">".join(tree.leaves[leaf])] = observed, expected
    return totals


def as_if_new(tree: BatchTree) -> dict[str, float]:
    """For each leaf how much farther a new one lies from the mean of its parent's m leaves.

    sqrt((1 + 1/m) / (1 - 1/m)), since a leaf that had a part in the mean lies nearer to it; an
    only child says nothing and gives NaN. From the leaf that it follows on an ordered level a new
    one lies as far; the first of them says nothing.
    """
    parents = [leaf[:-1] for leaf in tree.leaves]
    farther = {}
    for number, leaf in enumerate(tree.leaves):
        siblings = parents.count(leaf[:-1])
        if tree.levels[-1] in tree.ordered:
            value = 1.0 if tree.follows[-1][number] >= 0 else float("nan")
        else:
            value = (
                float("nan") if siblings < 2 else float(np.sqrt((siblings + 1) / (siblings - 1)))
            )
        farther[">".join(leaf)] = value
    return farther
