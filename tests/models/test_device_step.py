"""What an accelerator computes from counts in its memory is what plain autograd gives."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from levelseq.cohort.joint_counts import JointCounts
from levelseq.models import minibatches
from levelseq.models.count_loss import count_loss
from levelseq.models.descent import Descent
from levelseq.models.device_counts import ROOMS, DeviceCounts, DeviceMinibatch
from levelseq.models.device_step import DeviceStep
from levelseq.models.flat_adam import FlatAdam
from levelseq.models.likelihood import negative_binomial_log_prob
from levelseq.models.minibatches import CohortMinibatches
from levelseq.models.networks import ConditionalVAE, Minibatch
from levelseq.models.recorded import WARMING
from levelseq.models.sparse_minibatches import Paths
from levelseq.models.training import TrainingPlan, train_network
from levelseq.models.vae_settings import VaeSettings

from .small_network import GENES, NODE_PL, NODES, NORMALIZED_AWAY, ORDERED, network, relative

S = 60
NODE_SL = NODE_PL[torch.arange(S) % len(NODE_PL)]
LABEL_S = torch.arange(S) % 4 - 1
CPU = torch.device("cpu")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class Counts:
    """Counts with an empty observation at each end, and some that are large."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        counts = random.poisson(random.gamma(0.3, 4.0, (S, GENES))).astype(np.float32)
        counts[0], counts[S - 1], counts[5, 2], counts[6, 4] = 0, 0, 40_000, 9
        self.csr = sp.csr_matrix(counts)
        self.shape, self.measured = counts.shape, np.ones(GENES, dtype=bool)
        genes, starts = self.csr.indices.astype(np.int32), self.csr.indptr.astype(np.int64)
        self.arrays = self.csr.data, genes, starts
        self.size_factors = random.uniform(0.5, 2, S)

    def rows(self, observations: np.ndarray) -> sp.csr_matrix:
        return self.csr[observations]


COUNTS = Counts()


def on(device: torch.device) -> DeviceCounts:
    return DeviceCounts(COUNTS, Paths(NODE_SL), LABEL_S, device)


def dense(cells: np.ndarray) -> Minibatch:
    made = CohortMinibatches(COUNTS, NODE_SL, label_S=LABEL_S, fused=False).for_losses(cells)
    return Minibatch(*(None if tensor is None else tensor.cpu() for tensor in made))


def slopes(net: ConditionalVAE, batch: Minibatch | DeviceMinibatch) -> dict[str, torch.Tensor]:
    FlatAdam(net, 1e-3)
    Descent(net).add_slopes(batch, seed=3, kl_weight=2.0, share=0.75)
    return {k: p.grad.cpu().clone() for k, p in net.named_parameters() if p.grad is not None}


@pytest.fixture(params=[CPU, pytest.param(torch.device("cuda"), marks=on_gpu)], ids=str)
def device(request: pytest.FixtureRequest) -> torch.device:
    return request.param


# Rows in any order, with fewer counts than the places that are kept for so many.
@pytest.mark.parametrize("cells", [np.arange(S), np.array([7, 59, 3, 0, 21, 22, 40, 2])])
@pytest.mark.parametrize("nodes", [NODES, ORDERED, ()])
def test_a_step_on_the_device_has_the_slopes_of_a_dense_one(
    nodes: Sequence[int], cells: np.ndarray
) -> None:
    found = slopes(network(nodes), DeviceMinibatch(on(CPU), cells, thinned=False))
    expected = slopes(network(nodes), dense(cells))
    assert found.keys() == expected.keys()
    for name in expected.keys() - NORMALIZED_AWAY:
        assert relative(found[name], expected[name]) < 3e-4, name


def test_losses_on_the_device_are_the_dense_ones(device: torch.device) -> None:
    cells = np.arange(5, 45)
    net = network().eval()
    expected = Descent(net).loss(dense(cells))
    batch = DeviceMinibatch(on(device), cells, thinned=False)
    assert Descent(net.to(device)).loss(batch) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("theta", [1e-3, 0.3, 30.0, 1e4])
def test_the_loss_and_its_slopes_hold_for_any_dispersion(
    theta: float, device: torch.device
) -> None:
    torch.manual_seed(0)
    logits, log_theta = torch.randn(S, GENES), torch.randn(GENES) * 0.2 + np.log(theta)
    counts = torch.from_numpy(COUNTS.csr.toarray())
    drawn = on(device).draw(torch.arange(S, device=device), COUNTS.csr.nnz, thinned=False)
    found = count_loss(logits.to(device), log_theta.to(device), drawn, 0.5)
    true = [tensor.double().requires_grad_() for tensor in (logits, log_theta)]
    mean = torch.softmax(true[0], dim=1) * counts.double().sum(dim=1, keepdim=True)
    expected = -negative_binomial_log_prob(counts.double(), mean, true[1]).sum(dim=1).mean()
    expected.backward(torch.tensor(0.5).double())
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    # Of each cell apart: one with very many counts would hide the others.
    errors_B = (found.by_logits_BG.cpu().double() - true[0].grad).norm(dim=1)
    assert (errors_B <= 1e-4 * true[0].grad.norm(dim=1)).all()
    error = (found.by_log_theta_G.cpu().double() - true[1].grad).norm()
    assert error < 1e-4 * true[1].grad.norm() + 1e-5 * theta


def test_thinned_cells_show_a_binomial_share_over_a_smaller_size_factor(
    device: torch.device,
) -> None:
    torch.manual_seed(0)
    counts, cells = on(device), torch.arange(S, device=device)
    room = COUNTS.csr.nnz
    whole = counts.draw(cells, room, thinned=False)
    found = [counts.draw(cells, room, thinned=True) for _ in range(300)]
    assert all(torch.equal(drawn.count_N, whole.count_N) for drawn in found)
    real_N = whole.count_N > 0
    ratio = torch.stack([drawn.shown_N for drawn in found])[:, real_N] / whole.shown_N[real_N]
    assert ratio.mean().item() == pytest.approx(1.0, abs=0.02)
    # Of 40,000 counts half to all are kept: over the share, what is left is as before.
    assert ratio[:, whole.count_N[real_N] == 40_000].std().item() < 0.01
    kept = ratio[:, whole.count_N[real_N] == 1] > 0
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("n_cells", [1, 7, 30, S])
def test_there_is_room_for_all_counts_in_few_sizes(n_cells: int) -> None:
    counts, random, rooms = on(CPU), np.random.default_rng(0), set()
    for _ in range(200):
        cells = random.permutation(S)[:n_cells]
        rooms.add(counts.room(cells))
        own = COUNTS.csr[cells]
        drawn = counts.draw(torch.from_numpy(cells), counts.room(cells), thinned=False)
        assert drawn.count_N.sum().item() == own.sum()
        assert (drawn.count_N > 0).sum().item() == own.nnz <= len(drawn.count_N)
    assert len(rooms) <= ROOMS + 1
    assert counts.room(np.arange(S)) == COUNTS.csr.nnz


class OnMetaAlone(TorchDispatchMode):
    """Refuses tensors of the processor, which a recording could not copy to the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        for found in tree_leaves((args, kwargs, answer)):
            assert not isinstance(found, torch.Tensor) or found.is_meta, f"{func}: {found}"
        return answer


@pytest.mark.parametrize("nodes", [NODES, ORDERED, ()])
def test_nothing_in_a_step_waits_for_the_device_or_has_a_shape_that_values_decide(
    nodes: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a recording asks: tensors of the meta device have no values."""
    meta = torch.device("meta")
    # It alone is not known on the meta device; on CUDA it asks for no value.
    monkeypatch.setattr(torch, "binomial", lambda count, share: count * share)
    step, counts = DeviceStep(network(nodes, dropout=0.1).to(meta)), on(meta)
    given = counts, step._through(counts), counts.room(np.arange(8)), True
    cells_B, weights = torch.zeros(8, dtype=torch.int64, device=meta), torch.ones(2, device=meta)
    with OnMetaAlone():
        answer = step._add_slopes(*given, cells_B, weights)
    assert answer.shape == ()


def test_counts_go_with_the_step_that_used_them() -> None:
    """Without waiting for the garbage collector, which training holds back."""
    counts = on(CPU)
    kept, descent = weakref.ref(counts), Descent(network())
    FlatAdam(descent.network, 1e-3)
    descent.add_slopes(DeviceMinibatch(counts, np.arange(9), thinned=True), 0, 1.0, 1.0)
    gc.disable()
    try:
        del counts, descent
        assert kept() is None
    finally:
        gc.enable()


@pytest.fixture
def counts_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cohort's minibatches are those of an accelerator, whose part the processor plays."""
    made = DeviceCounts(COUNTS, Paths(NODE_SL), None, minibatches.device())
    monkeypatch.setattr(CohortMinibatches, "_on_device", made)


@pytest.mark.usefixtures("counts_on_the_device")
def test_training_on_the_device_learns_and_is_the_same_again() -> None:
    plan = TrainingPlan(80, 16, 3e-3, 5, 50, seed=0)
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        net = ConditionalVAE(GENES, NODES, VaeSettings(5, 20)).to(minibatches.device())
        progress = train_network(net, CohortMinibatches(COUNTS, NODE_SL), plan)
        losses.append(progress.held_out_losses)
    assert losses[0][-1] < losses[0][0] - 1
    assert losses[1] == pytest.approx(losses[0], rel=0 if minibatches.device() == CPU else 1e-2)


def test_rows_of_joint_counts_and_more_genes_than_int16_holds() -> None:
    wide = sp.csr_matrix(([3.0, 2.0], ([0, 1], [40_000, 7])), (2, 40_001), dtype=np.float32)

    class Wide(Counts):
        def __init__(self) -> None:
            self.csr, self.size_factors = wide, np.ones(2)
            self.measured = np.ones(40_001, dtype=bool)

    counts = JointCounts([(Wide(), np.array([1, 0]))])
    drawn = DeviceCounts(counts, Paths(NODE_SL[:2]), None, CPU).draw(
        torch.tensor([1, 0]), 2, thinned=False
    )
    assert drawn.gene_N.tolist() == [40_000, 7]
    assert drawn.place_N.tolist() == [40_000, 40_008]
    assert drawn.library_B.tolist() == [3.0, 2.0]
    assert drawn.label_B is None


@on_gpu
def test_recorded_steps_are_those_that_run_as_they_are() -> None:
    """With the same seed, thinning, dropout and the draws of latent states are the same too."""
    device = torch.device("cuda", 0)
    batch = DeviceMinibatch(on(device), np.arange(5, 45), thinned=True)
    net, plain = (network(dropout=0.1).to(device) for _ in range(2))
    optimizer = FlatAdam(net, 1e-3)
    recorded = Descent(net)
    for seed in range(WARMING + 3):
        optimizer.gradient.zero_()
        loss = recorded.add_slopes(batch, seed, 2.0, 0.75)
    (recording,) = recorded._device()._recorder._recordings.values()
    assert recording.graph is not None
    FlatAdam(plain, 1e-3)
    assert Descent(plain).add_slopes(batch, seed, 2.0, 0.75) == pytest.approx(loss, rel=1e-3)
    for (name, mine), theirs in zip(net.named_parameters(), plain.parameters()):
        if mine.grad is not None and name not in NORMALIZED_AWAY:
            assert relative(mine.grad, theirs.grad) < 1e-2, name
