"""Style transfer's parts: styles on the tree, partners, two players in one backward pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from levelseq.cohort import BatchTree, open_cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.loader import gene_counts
from levelseq.models.critic import Critic
from levelseq.models.minibatches import CohortMinibatches
from levelseq.models.node_effects import NodeEffects
from levelseq.models.partners import mutual_partners
from levelseq.models.style_transfer import StyleTransfer
from levelseq.models.training import TrainingPlan, train_network
from levelseq.models.tree_paths import paths
from levelseq.models.vae_settings import VaeSettings
from levelseq.normalize.state import read_state

from .conftest import Trained
from .test_training import Every, Killed, Until, die

SMALL = VaeSettings(n_latent=4, n_hidden=16)
PLAN = TrainingPlan(20, 64, 2e-3, 10, 30, seed=3)


@pytest.fixture
def network() -> StyleTransfer:
    torch.manual_seed(0)
    made = StyleTransfer(6, [2, 3], SMALL)
    with torch.no_grad():
        for effects in (m for m in made.modules() if isinstance(m, NodeEffects)):
            for level in effects.levels:
                level.normal_()
    return made


@pytest.fixture(scope="module")
def minibatches(trained: Trained) -> tuple[CohortMinibatches, list[int], int]:
    cohort = open_cohort(trained.cohort)
    state = read_state(trained.normalized)
    space = GeneSpace.of_cohort(
        cohort, state.genes, state.variable_genes, state.size_factors.reference_library
    )
    tree = BatchTree.from_obs(cohort.obs(), ["site", "run"])
    counts = gene_counts(cohort, space)
    found = CohortMinibatches(counts, tree.node_codes(cohort.obs()), fused=False)
    return found, [len(nodes) for nodes in tree.nodes], counts.shape[1]


def test_content_is_told_no_batch_and_an_unseen_leaf_has_its_parents_style(
    network: StyleTransfer,
) -> None:
    network.eval()
    x = torch.poisson(torch.full((5, 6), 3.0))
    here, there = torch.tensor([[0, 0]]).expand(5, 2), torch.tensor([[1, 2]]).expand(5, 2)
    assert torch.equal(network.encode(x, here)[0], network.encode(x, there)[0])
    z = torch.randn(5, 4)
    assert not torch.allclose(network.decode(z, here), network.decode(z, there))
    with torch.no_grad():
        for effects in (m for m in network.modules() if isinstance(m, NodeEffects)):
            effects.levels[1][1] = 0.0
    unseen, plain = torch.tensor([[0, -1]]).expand(5, 2), torch.tensor([[0, 1]]).expand(5, 2)
    assert torch.equal(network.decode(z, unseen), network.decode(z, plain))


def test_the_root_lies_amid_the_leaves_once_it_is_centred(network: StyleTransfer) -> None:
    network.eval()
    leaves = torch.tensor([[0, 0], [0, 1], [1, 2]])
    z = torch.randn(3, 4)
    before = network.decode(z, leaves)
    network.centre(leaves.numpy())
    assert torch.allclose(network.decode(z, leaves), before, atol=1e-5)
    path = paths(leaves, network.n_nodes)
    for effects in (network.scale_nodes, network.decoder_nodes, network.gene_nodes):
        total = effects(path)
        assert total.abs().max() > 0.1
        assert total.mean(dim=0).abs().max() < 1e-5
        assert effects.levels[1].any(dim=1).all()


def test_each_player_moves_its_own_weights_only(network: StyleTransfer) -> None:
    critic, x = network.critic, torch.rand(8, 6)
    node, weight = torch.randint(0, 2, (8, 2)), torch.ones(8)
    made = torch.rand(8, 6, requires_grad=True)
    critic.generator_loss(made, node, weight).backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critic.parameters())
    made.grad = None
    critic.loss(x, made, node, weight, 1.0).backward()
    assert made.grad is None
    assert all(parameter.grad is not None for parameter in critic.parameters())


def test_a_critic_learns_what_sets_a_batch_apart() -> None:
    torch.manual_seed(1)
    critic = Critic(5, [2], 16)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    node = torch.randint(0, 2, (256, 1))
    real = torch.rand(256, 5)
    real[:, 0] += node[:, 0]
    made = torch.rand(256, 5)
    made[:, 0] += 1 - node[:, 0].float()
    for _ in range(150):
        optimizer.zero_grad()
        critic.loss(real, made, node, torch.ones(256), 0.1).backward()
        optimizer.step()
    right = torch.cat([critic(real, node) > 0, critic(made, node) < 0]).float().mean()
    assert right > 0.9


def test_partners_are_of_another_batch_and_of_a_cells_own_kind() -> None:
    torch.manual_seed(0)
    kind, leaf = torch.randint(0, 4, (300,)), torch.randint(0, 3, (300,))
    # The last kind is in the first batch only.
    kind[leaf > 0] %= 3
    content = 6 * torch.eye(4)[kind] + torch.randn(300, 4)
    partner, matched = mutual_partners(content, leaf)
    assert (leaf[partner] != leaf).all()
    assert matched.float().mean() > 0.3
    assert (kind[partner] == kind)[matched].float().mean() > 0.97
    assert matched[kind == 3].float().mean() < 0.1


def test_a_batch_of_few_cells_has_no_match() -> None:
    torch.manual_seed(0)
    content = torch.randn(40, 3)
    few, enough = (mutual_partners(content, (torch.arange(40) < n).long())[1] for n in (7, 8))
    assert not few.any()
    assert enough.any()


def test_cells_of_one_batch_have_no_match() -> None:
    assert not mutual_partners(torch.randn(20, 3), torch.zeros(20, dtype=torch.long))[1].any()


def weights(minibatches, checkpoints=None, shown=None) -> dict[str, torch.Tensor]:
    found, n_nodes, n_genes = minibatches
    torch.manual_seed(0)
    made = StyleTransfer(n_genes, n_nodes, SMALL)
    train_network(made, shown or found, PLAN, checkpoints)
    return made.state_dict()


def test_a_killed_game_goes_on_with_both_players_as_they_were(minibatches, tmp_path: Path) -> None:
    whole = weights(minibatches)
    for step in (5, 13):
        with pytest.raises(Killed):
            weights(minibatches, Every(tmp_path, 3), Until(minibatches[0], step, die))
    resumed = weights(minibatches, Every(tmp_path, 3))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert whole["critic.first.weight"].isfinite().all()
