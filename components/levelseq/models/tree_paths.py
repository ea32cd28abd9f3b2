"""A cell's path through the batch tree, as the sums of node effects need it.

Shapes: B cells, L levels of the batch tree, N nodes of all levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from levelseq.cohort import BatchTree

__all__ = ["NodeCounts", "paths"]


class NodeCounts(tuple[int, ...]):
    """For each level of a batch tree how many nodes it has, and which follow which.

    A plain sequence of numbers, where one is asked for, is that of a tree without ordered levels.

    Attributes:
        follows: for each level the number of the node that each one follows, -1 where there is
            none; see `BatchTree.follows`.
    """

    follows: tuple[tuple[int, ...], ...]

    def __new__(cls, counts: Iterable[int], follows: Sequence[Sequence[int]] = ()) -> Self:
        """Numbers of nodes; without `follows` no level is ordered."""
        made = super().__new__(cls, counts)
        made.follows = tuple(map(tuple, follows)) or tuple((-1,) * n for n in made)
        return made

    @classmethod
    def of(cls, counts: Sequence[int]) -> NodeCounts:
        """What a function was given, with its order if it has one."""
        return counts if isinstance(counts, NodeCounts) else cls(counts)

    @classmethod
    def of_tree(cls, tree: BatchTree) -> NodeCounts:
        """Those of a batch tree."""
        return cls(map(len, tree.nodes), tree.follows)

    def after(self, leaf: int) -> list[int]:
        """The leaves that follow a leaf directly."""
        return [number for number, before in enumerate(self.follows[-1]) if before == leaf]

    @cached_property
    def walks(self) -> tuple[Tensor | None, ...]:
        """For each level (nodes, nodes): a node's row has 1 for it and all that it comes after.

        None for a level without order.
        """
        return tuple(
            _walk(level) if max(level, default=-1) >= 0 else None for level in self.follows
        )


def paths(node_BL: Tensor, n_nodes: Sequence[int]) -> Tensor:
    """(B, N): 1 for each node on a cell's path, over all nodes of all levels.

    On an ordered level the nodes before a cell's own are on its path too: an effect is then what
    changed since the one before, and the effects of a level are a random walk.
    """
    path_BN = torch.zeros(len(node_BL), sum(n_nodes), device=node_BL.device)
    first = 0
    for level, (number, walk) in enumerate(zip(n_nodes, NodeCounts.of(n_nodes).walks)):
        known = node_BL[:, level] >= 0
        own = node_BL[known, level]
        if walk is None:
            path_BN[known.nonzero()[:, 0], first + own] = 1.0
        else:
            path_BN[known, first : first + number] = walk.to(own.device)[own]
        first += number
    return path_BN


def _walk(follows: Sequence[int]) -> Tensor:
    walk_NN = torch.eye(len(follows))
    for number, before in enumerate(follows):
        # A node is numbered after the one that it follows.
        if before >= 0:
            walk_NN[number] += walk_NN[before]
    return walk_NN
