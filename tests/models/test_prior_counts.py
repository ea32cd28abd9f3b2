"""What a parent's mean is worth when a leaf is fitted: as much as trained leaves agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from levelseq.cohort import BatchTree
from levelseq.models.adapt import PRIOR_COUNTS, _prior_counts
from levelseq.models.anchors import Anchors
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.networks import ConditionalVAE
from levelseq.models.tree_paths import NodeCounts
from levelseq.models.vae_settings import VaeSettings

GENES = 4000
TREE = BatchTree(
    ("site", "run"), (("a", "1"), ("a", "2"), ("b", "3"), ("b", "4"), ("b", "5"), ("c", "6"))
)


def model(site_sd: float, run_sd: float, tree: BatchTree = TREE, new: Any = (4, 5)) -> VaeModel:
    """Shares that depend on the tree alone; some leaves, and site c, have no effects yet."""
    torch.manual_seed(0)
    network = ConditionalVAE(GENES, NodeCounts.of_tree(tree), VaeSettings(2, 8)).eval()
    sites, runs = network.gene_nodes.levels
    with torch.no_grad():
        network.decoder_out.weight.zero_()
        network.decoder_out.bias.normal_()
        sites[:2].normal_(0, site_sd)
        runs.normal_(0, run_sd)
        runs[list(new)] = 0.0
    anchors = replace(Anchors.none(), latent=np.zeros((3, 2), dtype=np.float32))
    unused: Any = None
    return VaeModel(network, unused, tree, anchors, unused, unused)


def variance(model: VaeModel, pairs: list[tuple[Any, Any]]) -> float:
    """Mean square of log shares with some effects less log shares with others."""
    base = model.network.decoder_out.bias.detach().double().numpy()
    shares = [[log_softmax(base + effect) for effect in pair] for pair in pairs]
    return float(np.mean([((own - without) ** 2).mean() for own, without in shares]))


def effects(model: VaeModel) -> list[Any]:
    return [table.detach().double().numpy() for table in model.network.gene_nodes.levels]


def test_a_new_run_of_a_known_site_is_held_as_runs_of_a_site_agree() -> None:
    made = model(site_sd=0.8, run_sd=0.25)
    site, run = effects(made)
    site_of = [0, 0, 1, 1]
    true = variance(made, [(site[s] + run[r], site[s]) for r, s in enumerate(site_of)])
    found = _prior_counts(made, 4)
    assert found == pytest.approx(1 / true, rel=1e-3)
    assert found == pytest.approx(1 / 0.25**2, rel=0.15)


def test_a_run_of_a_new_site_is_held_less_since_sites_differ_too() -> None:
    made = model(site_sd=0.4, run_sd=0.25)
    site, run = effects(made)
    true = variance(made, [(site[s] + run[r], 0 * site[s]) for r, s in enumerate([0, 0, 1, 1])])
    found = _prior_counts(made, 5)
    assert found == pytest.approx(1 / true, rel=1e-3)
    assert found < 0.6 * _prior_counts(made, 4)


def test_a_later_date_is_held_as_dates_agree_with_those_before_them() -> None:
    tree = TREE.in_order_of(("run",))
    made = model(site_sd=0.8, run_sd=0.25, tree=tree)
    site, run = effects(made)
    walk = [site[0] + run[0], site[0] + run[:2].sum(0), site[1] + run[2], site[1] + run[2:4].sum(0)]
    before = [site[0], walk[0], site[1], walk[2]]
    true = variance(made, list(zip(walk, before)))
    assert _prior_counts(made, 4) == pytest.approx(1 / true, rel=1e-3)


@pytest.mark.parametrize(("run_sd", "bound"), [(0.01, PRIOR_COUNTS[1]), (3.0, PRIOR_COUNTS[0])])
def test_it_stays_within_its_bounds(run_sd: float, bound: float) -> None:
    assert _prior_counts(model(0.0, run_sd), 4) == bound


def test_without_a_trained_leaf_the_parents_mean_holds() -> None:
    assert _prior_counts(model(0.5, 0.5, new=range(6)), 4) == PRIOR_COUNTS[1]
