"""Which cells of other batches are of a cell's own kind: mutual nearest neighbours in content.

Shapes: B cells of a minibatch, Z dimensions of their content.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mutual_partners"]

# With fewer cells of a batch at hand the nearest one of them need not be of the same kind.
FEWEST = 8
# Of a cell of another batch that is no mutual neighbour, and of one of the same batch.
_RARELY, _ELSE = 1e-6, 1e-12


def mutual_partners(content_BZ: Tensor, leaf_B: Tensor) -> tuple[Tensor, Tensor]:
    """For each cell the number of one of another batch, and whether the two are mutual neighbours.

    Two cells of two batches are when neither has a nearer one in the other's batch (Haghverdi et
    al. 2018; iMAP, Wang et al. 2021, trains its adversary on such pairs), and each batch has eight
    cells or more here. One of them is drawn, else any cell of another batch, else any. Cells of a
    kind that the others lack have few mutual neighbours, and fewer the more cells there are.

    Args:
        content_BZ: where cells lie.
        leaf_B: number of each cell's batch.
    """
    distance_BB = torch.cdist(content_BZ, content_BZ)
    near_BB = torch.zeros_like(distance_BB, dtype=torch.bool)
    for leaf in torch.unique(leaf_B):
        own = (leaf_B == leaf).nonzero()[:, 0]
        nearest_B = own[distance_BB[:, own].argmin(dim=1)]
        near_BB[torch.arange(len(leaf_B), device=leaf_B.device), nearest_B] = True
    different_BB = leaf_B[:, None] != leaf_B[None]
    many_B = (~different_BB).sum(dim=1) >= FEWEST
    mutual_BB = near_BB & near_BB.t() & different_BB & many_B[:, None] & many_B[None]
    chance_BB = mutual_BB + _RARELY * different_BB + _ELSE
    partner_B = torch.multinomial(chance_BB, 1)[:, 0]
    return partner_B, mutual_BB.gather(1, partner_B[:, None])[:, 0]
