"""Paths through the tree: a node, or on an ordered level a node and all that it comes after."""

from __future__ import annotations

import copy

import torch

from levelseq.models.node_effects import NodeEffects
from levelseq.models.tree_paths import NodeCounts, paths

# Nodes 0 to 2 in order below one parent, 3 alone below another, 4 later, between 1 and 2.
DATES = NodeCounts([2, 5], [(-1, -1), (-1, 0, 1, -1, 1)])


def test_a_path_holds_the_steps_up_to_its_date() -> None:
    nodes = torch.tensor([[0, 2], [0, 0], [1, 3], [0, 4], [0, -1], [-1, -1]])
    assert paths(nodes, DATES).tolist() == [
        [1, 0, 1, 1, 1, 0, 0],
        [1, 0, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 1, 0],
        [1, 0, 1, 1, 0, 0, 1],
        [1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]


def test_without_order_a_path_holds_its_nodes_alone() -> None:
    nodes = torch.tensor([[0, 2], [1, -1]])
    expected = [[1, 0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0]]
    assert paths(nodes, [2, 5]).tolist() == paths(nodes, NodeCounts([2, 5])).tolist() == expected


def test_the_effect_of_a_date_is_that_of_the_one_before_and_a_step() -> None:
    effects = NodeEffects(DATES, 3, prior_sd=1.0)
    for table in effects.levels:
        torch.nn.init.normal_(table)
    first, second, third = effects(paths(torch.tensor([[0, 0], [0, 1], [0, 2]]), DATES))
    torch.testing.assert_close(second - first, effects.levels[1][1].detach())
    torch.testing.assert_close(third - second, effects.levels[1][2].detach())


def test_the_leaves_after_one_and_the_order_outlive_a_copy() -> None:
    copied = copy.deepcopy(DATES)
    assert copied == DATES
    assert copied.follows == DATES.follows
    assert DATES.after(1) == [2, 4]
    assert DATES.after(3) == []
