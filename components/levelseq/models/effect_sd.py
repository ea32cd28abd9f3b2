"""How sure a value on a reference batch is, as far as effects of batches go.

Shapes: B cells, G genes, P kinds of cells, D axes of the embedding, L levels of the batch tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from levelseq.models.evidence import Evidence
from levelseq.models.networks import Minibatch
from levelseq.models.tree_paths import paths

if TYPE_CHECKING:
    from levelseq.models.conditional_vae import VaeModel

__all__ = ["effect_sd"]

USUAL_VARIANCE = 0.1
"""Of a level's log effects on genes, for a network that has none of its own to learn it from."""


def effect_sd(model: VaeModel, batch: Minibatch, place_BD: Any, target_L: Any) -> Tensor:
    """(B, G): sd of the log ratio between what a cell's batch does to it and what another would.

    Of a cell that is on the reference nothing is to be found out, nor of the root, which is the
    mean of all batches.

    Args:
        model: one without evidence is taken to know its effects.
        batch: the cells.
        place_BD: where they lie in the embedding.
        target_L: the reference's nodes; all -1: the root.
    """
    sd_BG = torch.zeros_like(batch.counts_BG)
    if model.evidence is None:
        return sd_BG
    node_BL, kind_B = batch.node_BL.cpu().numpy(), model.evidence.kind(place_BD)
    of_target = _variance(model, model.evidence, target_L) if (target_L >= 0).any() else 0.0
    for node_L in np.unique(node_BL, axis=0):
        if not np.array_equal(node_L, target_L):
            rows = np.flatnonzero((node_BL == node_L).all(axis=1))
            sd_PG = np.sqrt(_variance(model, model.evidence, node_L) + of_target)
            sd_BG[rows] = torch.as_tensor(sd_PG[kind_B[rows]]).to(sd_BG)
    return sd_BG


def _variance(model: VaeModel, evidence: Evidence, node_L: Any) -> Any:
    """(P, G): of the log effect of a path on each kind's genes."""
    network, tree = model.network, model.tree
    latent_PZ = torch.as_tensor(evidence.latent_PZ).to(network.log_theta_G)
    node_PL = torch.as_tensor(node_L).to(latent_PZ.device).expand(len(latent_PZ), -1)
    with torch.no_grad():
        log_share_PG = model.log_shares(latent_PZ, node_PL)
        effect_PG = log_share_PG - model.log_shares(latent_PZ, torch.full_like(node_PL, -1))
        theta_G = network.log_theta(paths(node_PL, network.n_nodes)).exp()
    log_share, effect, theta = (
        found.double().cpu().numpy() for found in (log_share_PG, effect_PG, theta_G)
    )
    node_FL = tree.node_codes(pd.DataFrame(tree.leaves, columns=list(tree.levels)))
    prior = [1 / each for each in network.gene_nodes.precisions()]
    prior = prior or [USUAL_VARIANCE] * len(tree.levels)
    return evidence.variance(node_L, node_FL, log_share, effect, theta, prior)
