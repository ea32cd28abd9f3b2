"""What training computes from sparse counts is what plain autograd gives from dense ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import binom
from torch import nn

from levelseq.models.binomial_kernels import thinned
from levelseq.models.descent import Descent
from levelseq.models.flat_adam import FlatAdam
from levelseq.models.fused_decoder import Reconstruction
from levelseq.models.hidden_layer import HiddenLayer
from levelseq.models.likelihood import negative_binomial_log_prob
from levelseq.models.networks import ConditionalVAE, Minibatch
from levelseq.models.random_words import stream
from levelseq.models.sparse_minibatches import Paths, SparseMinibatch, drawn

from .small_network import GENES, NODE_PL, NODES, NORMALIZED_AWAY, ORDERED, network, relative


def cells(n: int = 24, largest: float = 4.0) -> tuple[SparseMinibatch, Minibatch]:
    """Counts with an empty cell, some far above the tables' range, and paths of every kind."""
    random = np.random.default_rng(0)
    counts = random.poisson(random.gamma(0.3, largest, (n, GENES))).astype(np.float32)
    counts[3], counts[5, 2], counts[6, 4] = 0, 40_000, 9
    factors = random.uniform(0.5, 2, n)
    node_BL = NODE_PL[np.arange(n) % len(NODE_PL)]
    csr = sp.csr_matrix(counts)
    arrays = csr.data, csr.indices.astype(np.int32), csr.indptr.astype(np.int64)
    sparse = drawn(arrays, factors, Paths(node_BL), np.arange(n), None)
    # The encoder's hidden layer is given the effects of other paths than the cells' own.
    sparse = sparse._replace(style_B=np.roll(sparse.place_B, 1))
    style_BL = sparse.node_PL[torch.from_numpy(sparse.style_B)]
    label_B = torch.arange(n) % 4 - 1
    sparse = sparse._replace(label_B=label_B)
    scaled = torch.from_numpy((counts / factors[:, None]).astype(np.float32))
    return sparse, Minibatch(torch.from_numpy(counts), scaled, node_BL, None, style_BL, label_B)


def gradients(net: ConditionalVAE, batch: Minibatch | SparseMinibatch) -> dict[str, torch.Tensor]:
    """Of three quarters of reconstruction + 2 * divergence, at a draw of the latent state."""
    Descent(net).add_slopes(batch, seed=3, kl_weight=2.0, share=0.75)
    return {k: p.grad.clone() for k, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("narrow", "tolerance"), [(False, 3e-4), (True, 2e-2)])
def test_a_sparse_step_has_the_gradients_of_a_dense_one(
    monkeypatch: pytest.MonkeyPatch, narrow: bool, tolerance: float, in_place: bool
) -> None:
    monkeypatch.setattr("levelseq.models.sparse_step.narrow_products", lambda: narrow)
    sparse, dense = cells()
    ours, plain = network(), network()
    if in_place:
        FlatAdam(ours, 1e-3)
    found, expected = gradients(ours, sparse), gradients(plain, dense)
    for name in expected.keys() - NORMALIZED_AWAY:
        assert relative(found[name], expected[name]) < tolerance, name
    for name in ("encoder_norm_in", "decoder_norm"):
        for moment in ("running_mean", "running_var"):
            theirs = getattr(getattr(plain, name), moment)
            assert relative(getattr(getattr(ours, name), moment), theirs) < 1e-3, name


@pytest.mark.parametrize("in_place", [False, True])
def test_steps_along_an_ordered_level_get_the_gradients_of_all_that_come_after(
    in_place: bool,
) -> None:
    sparse, dense = cells()
    ours, plain = network(ORDERED), network(ORDERED)
    if in_place:
        FlatAdam(ours, 1e-3)
    found, expected = gradients(ours, sparse), gradients(plain, dense)
    without = gradients(network(), dense)
    for name in ("gene_nodes.levels.1", "encoder_nodes.levels.1", "decoder_nodes.levels.1"):
        assert relative(found[name], expected[name]) < 2e-2, name
        assert relative(found[name], without[name]) > 0.1, name


@pytest.mark.parametrize("nodes", [NODES, ORDERED])
def test_sparse_losses_are_the_dense_ones(nodes: Sequence[int]) -> None:
    sparse, dense = cells()
    descent = Descent(network(nodes).eval())
    assert descent.loss(sparse) == pytest.approx(descent.loss(dense), rel=1e-5)


@pytest.mark.parametrize("theta", [1e-3, 0.3, 30.0, 1e4])
def test_the_likelihood_and_its_slopes_hold_for_any_dispersion(theta: float) -> None:
    sparse, dense = cells(largest=100.0)
    torch.manual_seed(0)
    hidden, weight = torch.randn(24, 8), torch.randn(GENES, 8) * 0.3
    effect = torch.randn(len(sparse.node_PL), GENES)
    log_theta_G = nn.Parameter(torch.randn(GENES) * 0.2 + np.log(theta))
    out = nn.Linear(8, GENES)
    out.weight.data, out.bias.data = weight, torch.zeros(GENES)
    given = (hidden, effect, out.weight, out.bias, log_theta_G)
    true = [tensor.detach().double().requires_grad_() for tensor in given]
    ours = Reconstruction(out, log_theta_G)
    with torch.no_grad():
        found = ours.forward(sparse, hidden, effect.numpy())
        by_hidden, by_effect = ours.backward()
        ours.end()
    logits = true[0] @ true[2].t() + true[3] + true[1][torch.from_numpy(sparse.place_B)]
    counts = dense.counts_BG.double()
    mean = torch.softmax(logits, dim=1) * counts.sum(dim=1, keepdim=True)
    expected = -negative_binomial_log_prob(counts, mean, true[4]).sum(dim=1).mean()
    expected.backward()
    assert found == pytest.approx(expected.item(), rel=1e-5)
    mine = (by_hidden, torch.from_numpy(by_effect), out.weight.grad, out.bias.grad)
    for slope, theirs in zip(mine, true):
        assert relative(slope.double(), theirs.grad) < 1e-4
    # At large theta the slope is a difference of terms that are theta times a rounding apart.
    error = (log_theta_G.grad.double() - true[4].grad).norm()
    assert error < 1e-4 * true[4].grad.norm() + 1e-5 * theta


def test_a_hidden_layer_is_torchs_and_drops_the_share_it_is_told_to() -> None:
    torch.manual_seed(0)
    hidden, effects = torch.randn(200, 12), torch.randn(3, 16, requires_grad=True)
    place, linear = np.arange(200) % 3, nn.Linear(12, 16)
    norm = nn.BatchNorm1d(16, eps=1e-3, momentum=0.01)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    other, map_ = copy.deepcopy(norm), copy.deepcopy(linear)
    weights, effect = torch.randn(200, 16), effects.detach().numpy()
    layer = HiddenLayer(linear, norm, 0.0)
    with torch.no_grad():
        found = layer.forward(hidden, effect, place, 0)
        by_effects = torch.from_numpy(layer.backward(weights)[1])
    expected = torch.relu(other(map_(hidden) + effects[torch.from_numpy(place)]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, other.running_var)
    wanted = torch.autograd.grad((expected * weights).sum(), [map_.weight, effects, other.weight])
    for a, b in zip((linear.weight.grad, by_effects, norm.weight.grad), wanted):
        assert relative(a, b) < 1e-4
    with torch.no_grad():
        dropped = HiddenLayer(linear, norm, 0.25).forward(
            hidden, effects.detach().numpy(), place, 1
        )
    alive = found > 0
    assert float((dropped[alive] == 0).float().mean()) == pytest.approx(0.25, abs=0.04)
    kept = alive & (dropped > 0)
    torch.testing.assert_close(dropped[kept], found[kept] / 0.75, rtol=1e-4, atol=1e-4)


def test_adam_is_torchs_with_the_priors_slope() -> None:
    ours, theirs = network(), network()
    mine = FlatAdam(ours, 1e-2, eps=0.01)
    mine.set_precision({"log_theta_G": 0.5})
    torchs = torch.optim.Adam(theirs.parameters(), lr=1e-2, eps=0.01)
    for step in range(5):
        torch.manual_seed(step)
        for a, b in zip(ours.parameters(), theirs.parameters()):
            b.grad = torch.randn_like(b)
            a.grad += b.grad
        theirs.log_theta_G.grad += 0.5 * theirs.log_theta_G.detach()
        mine.step()
        torchs.step()
    mine.release()
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 70, 1000])
def test_thinning_is_binomial(n: int) -> None:
    threshold, kept = 45_000, np.empty(20_000, np.float32)
    thinned(np.full(20_000, n, np.float32), threshold, stream(1, 2, 3), kept)
    p = threshold / 65536
    assert kept.mean() == pytest.approx(n * p, abs=4 * (n * p * (1 - p) / len(kept)) ** 0.5)
    assert kept.var() == pytest.approx(binom.var(n, p), rel=0.06)
    assert abs(np.corrcoef(kept[1:], kept[:-1])[0, 1]) < 0.03


def test_what_is_drawn_depends_on_seed_and_step_alone() -> None:
    csr = sp.random_array((50, GENES), density=0.3, rng=np.random.default_rng(0), format="csr")
    data = np.ceil(csr.data * 20).astype(np.float32)
    arrays = data, csr.indices.astype(np.int32), csr.indptr.astype(np.int64)
    where = Paths(NODE_PL[np.arange(50) % 5])
    rows = np.array([7, 3, 44, 21])
    one, again, other = (
        drawn(arrays, np.ones(50), where, rows, key) for key in ((1, 5), (1, 5), (1, 6))
    )
    np.testing.assert_array_equal(one.shown_N, again.shown_N)
    assert not np.array_equal(one.shown_N, other.shown_N)
    np.testing.assert_array_equal(one.count_N, other.count_N)
    np.testing.assert_array_equal(one.node_PL[one.place_B], NODE_PL[rows % 5])
