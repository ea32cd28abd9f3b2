"""The network: effects on the batch tree, and genes that were not measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import NegativeBinomial

from levelseq.models.networks import ConditionalVAE, Minibatch
from levelseq.models.node_effects import NodeEffects
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


def full(**choices: Any) -> ConditionalVAE:
    """A network with both slower terms and effects of every node."""
    torch.manual_seed(0)
    made = ConditionalVAE(6, [2, 3], VaeSettings(4, 16, 0.0, **choices))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "nodes" in name or "lost" in name or "theta" in name:
                parameter.normal_(0, 0.5)
    return made.eval()


def cells(nodes: list[list[int]]) -> Minibatch:
    counts = torch.poisson(torch.full((len(nodes), 6), 2.0))
    return Minibatch(counts, counts / 2, torch.tensor(nodes), None)


def test_lost_counts_and_dispersions_of_batches_are_in_the_loss() -> None:
    network = full(likelihood="zinb", dispersion="gene-batch")
    batch = cells([[0, 1], [1, 2], [1, -1]])
    z = network.encode(batch.scaled_BG, batch.node_BL)[0]
    path = paths(batch.node_BL, [2, 3])
    hidden = network.decode_hidden(z, path, None)
    share = torch.softmax(network.decoder_out(hidden) + network.gene_nodes(path), dim=1)
    assert network.theta_nodes is not None
    assert network.lost_out is not None
    theta = (network.log_theta_G + network.theta_nodes(path)).exp().detach()
    mean = share * batch.counts_BG.sum(dim=1, keepdim=True)
    lost = torch.sigmoid(network.lost_out(hidden)).detach()
    plain = NegativeBinomial(theta, logits=(mean / theta).log().detach())
    p = plain.log_prob(batch.counts_BG).exp() * (1 - lost) + lost * (batch.counts_BG == 0)
    expected = -(p.log() + torch.lgamma(batch.counts_BG + 1)).sum(dim=1)
    found = network.losses(batch, sampled=False)[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_expected_shares_are_of_the_counts_that_are_left() -> None:
    network = full(likelihood="zinb")
    z, nodes = torch.randn(5, 4), torch.tensor([[0, 1]] * 5)
    shares = network.decode(z, nodes).exp()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(5))
    assert network.lost_out is not None
    with torch.no_grad():
        network.lost_out.weight.zero_()
        network.lost_out.bias.zero_()
        network.lost_out.bias[2] = 3.0
        kept = network.decode(z, nodes).exp()
        network.lost_out.bias[2] = 0.0
        whole = network.decode(z, nodes).exp()
    left = float(torch.sigmoid(torch.tensor(-3.0)) / torch.sigmoid(torch.tensor(0.0)))
    ratio = (kept[:, 2] / kept[:, 0]) / (whole[:, 2] / whole[:, 0])
    torch.testing.assert_close(ratio, torch.full((5,), left))


def test_an_unseen_leaf_has_its_parents_dispersion() -> None:
    network = full(dispersion="gene-batch")
    assert network.theta_nodes is not None
    batch = cells([[1, -1]])
    found = network.losses(batch, sampled=False)[0]
    with torch.no_grad():
        network.theta_nodes.levels[1].add_(5)
    torch.testing.assert_close(network.losses(batch, sampled=False)[0], found)
    with torch.no_grad():
        network.theta_nodes.levels[0][1] += 1
    assert (network.losses(batch, sampled=False)[0] - found).abs() > 1e-3


def test_a_plain_network_has_no_weights_of_the_slower_terms() -> None:
    names = set(ConditionalVAE(6, [2, 3]).state_dict())
    assert not [name for name in names if "lost" in name or "theta_nodes" in name]
    assert set(full(likelihood="zinb").state_dict()) - names == {
        "lost_out.weight",
        "lost_out.bias",
    }
