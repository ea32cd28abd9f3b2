"""How sure a value on a reference batch is, as far as effects of batches go.

Shapes: B cells, S observations, G genes, P kinds of cells, D axes of the embedding, L levels of the
batch tree, F leaves.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from levelseq.models.evidence import Evidence
from levelseq.models.tree_paths import paths

if TYPE_CHECKING:
    from levelseq.models.conditional_vae import VaeModel

__all__ = ["EffectErrors"]

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_LEAVES = 50
"""That how far a level's nodes differ is taken from."""
MOST_KEPT = 50
"""Paths whose variances are in memory at once."""
LEAST_VARIANCE = 1e-4
"""Of a level's effects, where the network has none to speak of."""


class EffectErrors:
    """Errors of the log ratios between what batches do to cells and what a reference does.

    Args:
        model: with evidence.
        evidence: the model's.
        target_L: the reference's nodes; all -1: the root, the mean of all batches, of which nothing
            is to be found out.
    """

    def __init__(self, model: VaeModel, evidence: Evidence, target_L: Ints) -> None:
        self._model, self._evidence, self._target = model, evidence, target_L
        self._node_FL = model.tree.leaf_nodes
        self._found: dict[bytes, Any] = {}

    def lacked(self, obs: pd.DataFrame) -> NDArray[np.bool_]:
        """(S, L): levels on which the tree lacks an observation's own node."""
        return replace(self._model.tree, ordered=()).node_codes(obs) < 0

    def sd(self, node_BL: Ints, lacked_BL: NDArray[np.bool_], place_BD: Any) -> F64:
        """(B, G): of the cells' log ratios; 0 of a cell that is on the reference.

        Args:
            node_BL: their nodes, -1 where unknown; on an ordered level the one that comes before.
            lacked_BL: where these are not their own.
            place_BD: where the cells lie in the embedding.
        """
        kind_B = self._evidence.kind(place_BD)
        sd_BG = np.zeros((len(node_BL), self._model.network.n_genes))
        rooted = not (self._target >= 0).any()
        of_target = 0.0 if rooted else self._variance(self._target, self._target < 0)
        both = np.hstack([node_BL, lacked_BL])
        for row in np.unique(both, axis=0):
            node_L, lacked_L = np.split(row, 2)
            if not lacked_L.any() and np.array_equal(node_L, self._target):
                continue
            rows = np.flatnonzero((both == row).all(axis=1))
            of_both = self._variance(node_L, lacked_L.astype(bool)) + of_target
            sd_BG[rows] = np.sqrt(of_both)[kind_B[rows]]
        return sd_BG

    def _variance(self, node_L: Ints, lacked_L: NDArray[np.bool_]) -> Any:
        """(P, G): of the log effect of a path on each kind's genes, kept for later cells."""
        key = node_L.tobytes() + lacked_L.tobytes()
        if key not in self._found:
            if len(self._found) == MOST_KEPT:
                self._found.clear()
            network, node_PL = self._model.network, self._of_kinds(node_L)
            log_share = self._log_shares(node_L)
            effect = log_share - self._log_shares(np.full_like(node_L, -1))
            with torch.no_grad():
                theta = network.log_theta(paths(node_PL, network.n_nodes)).exp()
            self._found[key] = self._evidence.variance(
                node_L,
                lacked_L,
                self._node_FL,
                log_share,
                effect,
                theta.double().cpu().numpy(),
                self._prior,
            )
        return self._found[key]

    @cached_property
    def _prior(self) -> F64:
        """(L,): how far a level's nodes move a gene, on average over kinds, as trained leaves show.

        The mean square of what goes when the nodes of the level and of those below it are taken
        away, less what goes with those below alone.
        """
        tree = self._model.tree
        seen_FL = self._node_FL[self._evidence.cells_FP.sum(axis=1) > 0][:MOST_LEAVES]
        whole = [self._log_shares(node_L).mean(axis=0) for node_L in seen_FL]
        so_far, prior = 0.0, []
        for levels in range(1, len(tree.levels) + 1):
            without = tree.as_unseen(seen_FL, levels)
            squares = [
                ((own - self._log_shares(node_L).mean(axis=0)) ** 2).mean()
                for own, node_L in zip(whole, without)
            ]
            moved = float(np.mean(squares)) if squares else 0.0
            prior.append(max(moved - so_far, LEAST_VARIANCE))
            so_far = max(moved, so_far)
        return np.array(prior[::-1])

    def _log_shares(self, node_L: Ints) -> F64:
        """(P, G): of each gene in the counts of each kind on a path."""
        latent_PZ = torch.as_tensor(self._evidence.latent_PZ).to(self._model.network.log_theta_G)
        with torch.no_grad():
            found = self._model.log_shares(latent_PZ, self._of_kinds(node_L))
        return np.asarray(found.double().cpu().numpy())

    def _of_kinds(self, node_L: Ints) -> torch.Tensor:
        at = self._model.network.log_theta_G.device
        return torch.as_tensor(node_L).to(at).expand(len(self._evidence.latent_PZ), -1)
