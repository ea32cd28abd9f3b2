"""The network: effects on the batch tree, and genes that were not measured."""

from __future__ import annotations

import pytest
import torch

from levelseq.models.networks import ConditionalVAE, Minibatch, NodeEffects
from levelseq.models.tree_paths import paths
from levelseq.models.vae_settings import VaeSettings


@pytest.fixture
def network() -> ConditionalVAE:
    torch.manual_seed(0)
    network = ConditionalVAE(6, [2, 3], VaeSettings(4, 16))
    for effects in (m for m in network.modules() if isinstance(m, NodeEffects)):
        for table in effects.levels:
            torch.nn.init.normal_(table, std=0.5)
    return network.eval()


def test_a_cell_gets_the_sum_along_its_path() -> None:
    effects = NodeEffects([2, 3], 4, prior_sd=1.0)
    for table in effects.levels:
        torch.nn.init.normal_(table)
    found = effects(paths(torch.tensor([[1, 2], [0, 0]]), [2, 3]))
    expected = torch.stack(
        [effects.levels[0][1] + effects.levels[1][2], effects.levels[0][0] + effects.levels[1][0]]
    )
    torch.testing.assert_close(found, expected)


def test_an_unseen_leaf_is_its_parent_and_an_unseen_path_the_root() -> None:
    effects = NodeEffects([2, 3], 4, prior_sd=1.0)
    for table in effects.levels:
        torch.nn.init.normal_(table)
    found = effects(paths(torch.tensor([[1, -1], [-1, -1]]), [2, 3]))
    torch.testing.assert_close(found[0], effects.levels[0][1])
    torch.testing.assert_close(found[1], torch.zeros(4))


def test_shares_sum_to_one_in_every_batch(network: ConditionalVAE) -> None:
    shares = network.decode(torch.randn(5, 4), torch.tensor([[0, 1]] * 5)).exp()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(5))


def test_the_encoder_sees_counts_without_the_batchs_gene_effects(network: ConditionalVAE) -> None:
    for effects in (network.encoder_nodes,):
        for table in effects.levels:
            torch.nn.init.zeros_(table)
    here, there = torch.tensor([[0, 0]]), torch.tensor([[1, 2]])
    counts = torch.rand(1, 6) * 9
    moved = counts * torch.exp(gene_effects(network, there) - gene_effects(network, here))
    torch.testing.assert_close(
        network.encode(counts, here)[0], network.encode(moved, there)[0], atol=1e-5, rtol=1e-5
    )


def gene_effects(network: ConditionalVAE, nodes: torch.Tensor) -> torch.Tensor:
    return network.gene_nodes(paths(nodes, network.n_nodes))


def test_a_gene_that_was_not_measured_changes_no_loss(network: ConditionalVAE) -> None:
    counts = torch.poisson(torch.full((3, 6), 4.0))
    scaled, nodes = counts / 2, torch.tensor([[0, 1]] * 3)
    measured = torch.tensor([1.0, 1, 1, 1, 1, 0])
    counts[:, 5] = 0
    before = network.losses(Minibatch(counts, scaled, nodes, measured), sampled=False)[0]
    with torch.no_grad():
        network.decoder_out.bias[5] += 3
    after = network.losses(Minibatch(counts, scaled, nodes, measured), sampled=False)[0]
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-5)


def test_a_level_whose_nodes_are_alike_is_drawn_to_its_parents_harder() -> None:
    network = ConditionalVAE(40, [2, 4], VaeSettings(2, 8))
    expected = 1 / network.gene_nodes.prior_sd**2
    assert network.precisions()["gene_nodes.levels.0"] == pytest.approx(expected)
    with torch.no_grad():
        network.gene_nodes.levels[0].normal_(0, 0.05)
        network.gene_nodes.levels[1].normal_(0, 1.5)
    found = network.precisions()
    assert found["gene_nodes.levels.0"] > 5 * expected
    assert found["gene_nodes.levels.1"] < 0.5 * expected
