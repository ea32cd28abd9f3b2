"""The critic of a style transfer: do cells look as those of a batch do?

Shapes: B cells, G genes, H hidden units, L levels of the batch tree.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from levelseq.models.node_effects import NodeEffects
from levelseq.models.tree_paths import NodeCounts, paths

__all__ = ["Critic"]

SLOPE = 0.2


class Critic(nn.Module):
    """One number a cell, high where it looks as a real cell of the batch.

    The batch is seen as in a projection discriminator (Miyato & Koyama 2018): the last layer's
    weights are a sum along the cell's path through the tree, so that a small batch is judged much
    as its parent's cells are.

    Args:
        n_genes: G.
        n_nodes: for each level of the batch tree, how many nodes it has.
        n_hidden: H.
    """

    def __init__(self, n_genes: int, n_nodes: Sequence[int], n_hidden: int) -> None:
        super().__init__()
        self.n_nodes = NodeCounts.of(n_nodes)
        self.first = nn.Linear(n_genes, n_hidden)
        self.second = nn.Linear(n_hidden, n_hidden)
        self.out = nn.Linear(n_hidden, 1)
        self.nodes = NodeEffects(n_nodes, n_hidden, prior_sd=1.0)

    def forward(self, log_BG: Tensor, node_BL: Tensor) -> Tensor:
        """(B,): how much cells, given as log(1 + counts over size factors), look real."""
        h = functional.leaky_relu(self.first(log_BG), SLOPE)
        h = functional.leaky_relu(self.second(h), SLOPE)
        of_batch_BH: Tensor = self.nodes(paths(node_BL, self.n_nodes))
        of_all_B: Tensor = self.out(h)[:, 0]
        return of_all_B + (h * of_batch_BH).sum(dim=1)

    def generator_loss(self, made_BG: Tensor, node_BL: Tensor, weight_B: Tensor) -> Tensor:
        """Weighted mean loss of who made cells that do not look real; none of the critic's own."""
        weights = {name: value.detach() for name, value in self.named_parameters()}
        judged = functional_call(self, weights, (made_BG, node_BL))
        return _mean(functional.softplus(-judged), weight_B)

    def loss(
        self, real_BG: Tensor, made_BG: Tensor, node_BL: Tensor, weight_B: Tensor, penalty: float
    ) -> Tensor:
        """Weighted mean loss of telling real cells from made ones, of the same batches.

        With R1 (Mescheder et al. 2018): the critic is held flat around the real cells by half the
        penalty times its squared gradient there, which lets the game end where the two agree.
        """
        real_BG = real_BG.detach().requires_grad_()
        judged = self(real_BG, node_BL)
        told = functional.softplus(-judged)
        told = told + functional.softplus(self(made_BG.detach(), node_BL))
        (slope_BG,) = torch.autograd.grad(judged.sum(), real_BG, create_graph=True)
        steepness = slope_BG.square().sum(dim=1)
        return _mean(told + penalty / 2 * steepness, weight_B)


def _mean(value_B: Tensor, weight_B: Tensor) -> Tensor:
    return (value_B * weight_B).sum() / weight_B.sum().clamp(min=1.0)
