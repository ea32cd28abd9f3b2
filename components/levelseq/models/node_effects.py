"""Effects of the batch tree's nodes, which add up along a cell's path.

Shapes: B cells, N nodes of all levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["NodeEffects"]

HYPERPRIOR = 0.1


class NodeEffects(nn.Module):
    """A vector for each node of the batch tree; a cell gets the sum along its path.

    Every vector is a deviation from its parent, drawn towards zero by a normal prior. A node that
    the tree lacks contributes nothing, so that an unseen leaf falls back to its parent's mean.
    """

    def __init__(self, n_nodes: Sequence[int], width: int, prior_sd: float) -> None:
        super().__init__()
        self.levels = nn.ParameterList(nn.Parameter(torch.zeros(n, width)) for n in n_nodes)
        self.width = width
        self.prior_sd = prior_sd

    def forward(self, path_BN: Tensor) -> Tensor:
        """(B, width): the sum of the effects along each cell's path, as `paths` gives it."""
        if not self.levels:
            return path_BN.new_zeros(len(path_BN), self.width)
        return path_BN @ torch.cat(tuple(self.levels))

    def precisions(self) -> list[float]:
        """The precision of each level's prior.

        Learned: one over the mean square of the level's effects, drawn to what was expected of them
        as by a tenth as many effects more (the mode under a gamma hyperprior). A level whose nodes
        are alike is shrunk to its parents; one that differs is left to.
        """
        return [_learned_precision(table.detach(), self.prior_sd) for table in self.levels]


def _learned_precision(table: Tensor, prior_sd: float) -> float:
    if not table.any():
        return 1 / prior_sd**2
    mean_square = float(table.double().square().mean())
    return (1 + HYPERPRIOR) / (mean_square + HYPERPRIOR * prior_sd**2)
