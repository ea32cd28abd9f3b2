"""Latent levelling: what it takes out, what it leaves, and that it needs no fit to be applied."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from levelseq.models.embedding import Embedding
from levelseq.models.latent_levelling import LatentLevelling
from levelseq.models.networks import ConditionalVAE
from levelseq.models.tree_paths import NodeCounts
from levelseq.models.vae_settings import VaeSettings

NODES = [2, 4]


class Cells(NamedTuple):
    """States with a known type, path and effect."""

    z: np.ndarray
    nodes: np.ndarray
    types: np.ndarray
    truth: np.ndarray


def simulated(seed: int, site: float, run: float, n: int = 1600) -> Cells:
    random = np.random.default_rng(seed)
    types, leaf = random.integers(0, 4, n), random.integers(0, 4, n)
    centres = 4 * random.normal(size=(4, 6))
    truth = centres[types] + random.normal(size=(n, 6))
    effect = site * random.normal(size=(2, 6))[leaf // 2] + run * random.normal(size=(4, 6))[leaf]
    nodes = np.column_stack([leaf // 2, leaf])
    return Cells(truth + effect, nodes, types, truth)


def untrained(n_latent: int) -> ConditionalVAE:
    """A network of 40 genes as it starts."""
    torch.manual_seed(0)
    return ConditionalVAE(40, NODES, VaeSettings(n_hidden=16, n_latent=n_latent))


def between(z: np.ndarray, cells: Cells) -> float:
    """Share of the variance within types that lies between leaves."""
    total = left = 0.0
    for kind in range(4):
        own = z[cells.types == kind]
        leaf = cells.nodes[cells.types == kind, 1]
        total += float(((own - own.mean(axis=0)) ** 2).sum())
        for number in range(4):
            apart = own[leaf == number].mean(axis=0) - own.mean(axis=0)
            left += (leaf == number).sum() * float((apart**2).sum())
    return left / total


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_batches_add_is_taken_out_and_types_stay(seed: int) -> None:
    cells = simulated(seed, site=1.0, run=0.7)
    levelled = LatentLevelling.fit(cells.z, cells.nodes, NODES, 0).apply(
        cells.z, cells.nodes, NODES
    )
    assert between(cells.z, cells) > 0.15
    assert between(levelled, cells) < 0.2 * between(cells.z, cells)
    centre = np.stack([levelled[cells.types == kind].mean(axis=0) for kind in range(4)])
    nearest = ((levelled[:, None] - centre) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == cells.types).mean() > 0.99


def test_batches_that_do_not_differ_are_left_alone() -> None:
    cells = simulated(3, site=0.0, run=0.0)
    fitted = LatentLevelling.fit(cells.z, cells.nodes, NODES, 0)
    moved = np.linalg.norm(fitted.apply(cells.z, cells.nodes, NODES) - cells.z, axis=1)
    spread = np.sqrt(6)  # of a cell about its type
    assert np.median(moved) < 0.1 * spread
    strong = simulated(3, site=1.0, run=1.0)
    other = LatentLevelling.fit(strong.z, strong.nodes, NODES, 0)
    assert (other.precision_L < fitted.precision_L).all()


def test_offsets_are_by_level_and_an_unseen_leaf_has_its_parents() -> None:
    cells = simulated(4, site=1.5, run=0.0)
    fitted = LatentLevelling.fit(cells.z, cells.nodes, NODES, 0)
    unseen = cells.nodes.copy()
    unseen[:, 1] = -1
    as_parent = fitted.apply(cells.z, unseen, NODES)
    assert between(as_parent, cells) < 0.25 * between(cells.z, cells)
    nobody = np.full_like(cells.nodes, -1)
    np.testing.assert_allclose(fitted.apply(cells.z, nobody, NODES), cells.z)


def test_a_cell_is_placed_by_itself_whatever_comes_with_it() -> None:
    cells = simulated(5, site=1.0, run=1.0)
    fitted = LatentLevelling.fit(cells.z, cells.nodes, NODES, 0)
    together = fitted.apply(cells.z, cells.nodes, NODES)
    some = np.array([3, 700, 11])
    alone = fitted.apply(cells.z[some], cells.nodes[some], NODES)
    np.testing.assert_allclose(alone, together[some], atol=1e-10)


def test_a_new_leaf_comes_to_the_others_and_they_stay() -> None:
    cells = simulated(6, site=1.0, run=1.0)
    known = cells.nodes[:, 1] != 3
    fitted = LatentLevelling.fit(cells.z[known], cells.nodes[known], [2, 3], 0)
    grown = fitted.with_nodes([2, 3], NODES).with_leaf_of(cells.z[~known], np.array([1, 3]), NODES)
    after = grown.apply(cells.z, cells.nodes, NODES)
    before = fitted.apply(cells.z[known], cells.nodes[known], [2, 3])
    np.testing.assert_allclose(after[known], before, atol=1e-9)
    assert between(after, cells) < 0.05


DATES = NodeCounts([2, 6], [(-1, -1), (-1, 0, 1, -1, 3, 4)])


def drifting(seed: int, n: int = 2400) -> Cells:
    """Two sites with three dates each; a date's effect is the one before and a step."""
    random = np.random.default_rng(seed)
    types, leaf = random.integers(0, 4, n), random.integers(0, 6, n)
    truth = (4 * random.normal(size=(4, 6)))[types] + random.normal(size=(n, 6))
    steps = random.normal(size=(2, 3, 6)).cumsum(axis=1).reshape(6, 6)
    return Cells(truth + steps[leaf], np.column_stack([leaf // 3, leaf]), types, truth)


def test_a_date_that_comes_later_lies_nearer_to_the_one_before_than_to_the_mean() -> None:
    apart = []
    for seed in range(4):
        cells = drifting(seed)
        known = ~np.isin(cells.nodes[:, 1], [2, 5])
        seen = cells.nodes[known]
        seen[:, 1] -= seen[:, 0]
        later = cells.nodes[~known]
        left = []
        for order, code in (([(-1, -1), (-1, 0, -1, 2)], later[:, 0] * 2 + 1), ((), -1)):
            nodes = NodeCounts([2, 4], order)
            fitted = LatentLevelling.fit(cells.z[known], seen, nodes, 0)
            as_known = np.column_stack([later[:, 0], np.broadcast_to(code, len(later))])
            centred = fitted.apply(cells.z[~known], as_known, nodes) - cells.truth[~known]
            base = fitted.apply(cells.z[known], seen, nodes) - cells.truth[known]
            left.append(np.linalg.norm(centred - base.mean(axis=0), axis=1).mean())
        apart.append(left)
    walk, parent = np.mean(apart, axis=0)
    assert walk < 0.9 * parent


def test_a_date_fitted_anew_leaves_the_later_ones_where_they_are() -> None:
    cells = drifting(8)
    fitted = LatentLevelling.fit(cells.z, cells.nodes, DATES, 0)
    before = fitted.apply(cells.z, cells.nodes, DATES)
    own = cells.nodes[:, 1] == 1
    again = fitted.with_leaf_of(cells.z[own] + 0.5, np.array([0, 1]), DATES)
    after = again.apply(cells.z, cells.nodes, DATES)
    np.testing.assert_allclose(after[~own], before[~own], atol=1e-9)
    assert np.abs(after[own] - before[own]).mean() > 0.1


def test_the_same_seed_gives_the_same_bytes_and_a_saved_embedding_the_same_places() -> None:
    cells = simulated(7, site=1.0, run=1.0)
    network = untrained(6)
    first, second = (Embedding.fit(network, cells.z, cells.nodes, NODES, 3) for _ in range(2))
    places = first.project(network, cells.z, cells.nodes, NODES)
    assert places.tobytes() == second.project(network, cells.z, cells.nodes, NODES).tobytes()
    again = Embedding.from_tensors(first.to_tensors())
    assert again.project(network, cells.z, cells.nodes, NODES).tobytes() == places.tobytes()


def test_few_cells_and_constant_states_give_numbers() -> None:
    few = np.random.default_rng(0).normal(size=(5, 3))
    nodes = np.array([[0, 0], [0, 1], [1, 2], [1, 3], [0, 0]])
    network = untrained(3)
    for z, node_SL in ((few, nodes), (np.zeros((60, 3)), np.repeat(nodes[:4], 15, axis=0))):
        fitted = Embedding.fit(network, z, node_SL, NODES, 0)
        assert np.isfinite(fitted.project(network, z, node_SL, NODES)).all()
