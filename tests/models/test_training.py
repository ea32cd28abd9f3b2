"""Training: the same bytes every time, also when the process was killed in between."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from levelseq.cohort import BatchTree, open_cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.loader import GeneCounts, gene_counts
from levelseq.cohort.sampler import EpochSampler
from levelseq.errors import BadInput, BadOption, Retryable
from levelseq.models import vae_fit
from levelseq.models.anchors import Anchors
from levelseq.models.augmentation import Augmentation
from levelseq.models.cell_mixing import similar_cells
from levelseq.models.checkpoint import StoreCheckpoints
from levelseq.models.flat_adam import FlatAdam
from levelseq.models.minibatches import CohortMinibatches
from levelseq.models.networks import ConditionalVAE
from levelseq.models.planning import plan_training
from levelseq.models.saving import load_model, read_metrics
from levelseq.models.threads import with_helper
from levelseq.models.training import Progress, TrainingPlan, train_network
from levelseq.models.vae_settings import VaeSettings
from levelseq.normalize.state import read_state
from levelseq.store import open_store
from levelseq.train import step as train
from levelseq.train.params import TrainParams

from .conftest import Trained

PLAN = TrainingPlan(38, 64, 2e-3, 20, 30, seed=3)


class Killed(BaseException):
    """The process is gone."""


class Every(StoreCheckpoints):
    """Saves after every so many steps."""

    def __init__(self, folder: Path | str, steps: int) -> None:
        super().__init__(open_store(str(folder)), 0.0)
        self.steps, self.asked = steps, 0

    def due(self) -> bool:
        self.asked += 1
        return self.asked % self.steps == 0


class Until:
    """Minibatches up to a step, at which something happens."""

    def __init__(self, minibatches: CohortMinibatches, step: int, happens: Callable) -> None:
        self.minibatches, self.step, self.happens = minibatches, step, happens

    def __len__(self) -> int:
        return len(self.minibatches)

    def for_losses(self, observations, drawn_by=None):
        if drawn_by is not None and drawn_by[1] == self.step:
            self.happens()
        return self.minibatches.for_losses(observations, drawn_by)


def die() -> None:
    raise Killed


def preempt() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def setting(trained: Trained) -> tuple[GeneCounts, CohortMinibatches, list[int]]:
    cohort = open_cohort(trained.cohort)
    state = read_state(trained.normalized)
    space = GeneSpace.of_cohort(
        cohort, state.genes, state.variable_genes, state.size_factors.reference_library
    )
    tree = BatchTree.from_obs(cohort.obs(), ["site", "run"])
    counts = gene_counts(cohort, space)
    everyone = np.arange(len(cohort.obs()))
    partners = similar_cells(counts, tree.leaf_codes(cohort.obs()), everyone, seed=0)
    every_term = Augmentation(True, True, True, partners)
    minibatches = CohortMinibatches(counts, tree.node_codes(cohort.obs()), augmentation=every_term)
    return counts, minibatches, [len(nodes) for nodes in tree.nodes]


def network_for(setting: tuple[GeneCounts, CohortMinibatches, list[int]]) -> ConditionalVAE:
    torch.manual_seed(0)
    return ConditionalVAE(setting[0].shape[1], setting[2], VaeSettings(4, 16))


def trained_weights(
    setting, checkpoints: StoreCheckpoints | None, minibatches=None
) -> dict[str, torch.Tensor]:
    network = network_for(setting)
    train_network(network, minibatches or setting[1], PLAN, checkpoints)
    return network.state_dict()


def test_a_helper_changes_no_byte(setting, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 2, 2):
        monkeypatch.setattr("levelseq.models.threads.n_threads", lambda n=threads: n)
        with with_helper():
            found.append(trained_weights(setting, None))
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for name in other:
            assert torch.equal(other[name], found[0][name]), name


@pytest.fixture(scope="module")
def whole(setting) -> dict[str, torch.Tensor]:
    """The weights of a run that nothing befell: epochs of eight steps, the last one cut short."""
    return trained_weights(setting, None)


def test_no_more_steps_are_done_than_planned_and_the_last_is_scored(setting) -> None:
    for steps in (3, 38):
        progress = train_network(network_for(setting), setting[1], replace(PLAN, steps=steps))
        assert progress.step == steps
        assert len(progress.held_out_losses) == -(-steps // 8)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_random_steps_ends_with_the_weights_of_one_that_was_not(
    setting, whole, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    for step in sorted(draw.sample(range(4, 38), 4)):
        with pytest.raises(Killed):
            trained_weights(setting, Every(tmp_path, 3), Until(setting[1], step, die))
    resumed = trained_weights(setting, Every(tmp_path, 3))
    assert same(whole, resumed)


def test_a_run_killed_goes_on_from_its_checkpoint_in_s3(setting, whole, s3: str) -> None:
    with pytest.raises(Killed):
        trained_weights(setting, Every(s3, 3), Until(setting[1], 17, die))
    assert open_store(s3).exists("00000015/progress.json")
    assert same(whole, trained_weights(setting, Every(s3, 3)))


def test_a_checkpoint_is_due_when_its_seconds_are_over(
    setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("levelseq.models.checkpoint.time.monotonic", lambda: now[0])
    checkpoints = StoreCheckpoints(open_store(str(tmp_path)), 30.0)
    now[0] = 129.0
    assert not checkpoints.due()
    now[0] = 130.0
    assert checkpoints.due()
    network = network_for(setting)
    checkpoints.save(network, FlatAdam(network, 0.0), Progress())
    assert not checkpoints.due()
    now[0] = 160.0
    assert checkpoints.due()


@pytest.mark.parametrize("step", [7, 8, 9])
def test_a_run_killed_around_the_end_of_an_epoch_goes_on_the_same(
    setting, whole, tmp_path: Path, step: int
) -> None:
    with pytest.raises(Killed):
        trained_weights(setting, Every(tmp_path, 1), Until(setting[1], step, die))
    assert open_store(str(tmp_path)).exists(f"{step:08d}/progress.json")
    assert same(whole, trained_weights(setting, Every(tmp_path, 1)))


@pytest.mark.parametrize("step", [13, 36, 37])
def test_a_preempted_run_saves_the_step_it_is_in_and_asks_to_be_tried_again(
    setting, whole, tmp_path: Path, step: int
) -> None:
    with pytest.raises(Retryable, match=f"at step {step + 1} .*from its last checkpoint"):
        trained_weights(setting, Every(tmp_path, 1000), Until(setting[1], step, preempt))
    assert open_store(str(tmp_path)).exists(f"{step + 1:08d}/progress.json")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert same(whole, trained_weights(setting, Every(tmp_path, 1000)))


def test_a_preempted_run_without_checkpoints_promises_none(setting) -> None:
    with pytest.raises(Retryable, match="begins anew"):
        trained_weights(setting, None, Until(setting[1], 5, preempt))


def test_two_checkpoints_are_kept_and_none_when_the_model_is_written(
    setting, tmp_path: Path
) -> None:
    checkpoints = StoreCheckpoints(open_store(str(tmp_path)), 0.0)
    trained_weights(setting, checkpoints)
    assert len({path.split("/")[0] for path in open_store(str(tmp_path)).list()}) == 2
    checkpoints.remove()
    assert open_store(str(tmp_path)).list() == []


def test_a_checkpoint_cut_off_in_writing_is_not_read(setting, tmp_path: Path) -> None:
    trained_weights(setting, StoreCheckpoints(open_store(str(tmp_path)), 0.0))
    open_store(str(tmp_path)).put("00009999/state.safetensors", b"half")
    again = trained_weights(setting, StoreCheckpoints(open_store(str(tmp_path)), 1e9))
    assert again.keys() == network_for(setting).state_dict().keys()


def test_the_held_out_loss_falls(trained: Trained) -> None:
    losses = read_metrics(trained.model)["held_out_loss"]
    assert losses[-1] < losses[0]


def test_patience_ends_training(setting) -> None:
    plan = TrainingPlan(4000, 64, 0.0, 1, 3, seed=3)
    network = network_for(setting)
    progress = train_network(network, setting[1], plan)
    assert progress.step < 200


def test_a_loss_that_is_not_a_number_ends_in_one_line(setting) -> None:
    network = network_for(setting)
    with torch.no_grad():
        network.decoder_out.bias[0] = float("nan")
    with pytest.raises(BadInput, match="the training loss is nan at step 0"):
        train_network(network, setting[1], PLAN)


def test_every_cell_is_read_once_an_epoch_whatever_step_one_starts_at() -> None:
    cells = np.arange(100, 350)
    sampler = EpochSampler(cells, 64, seed=1)
    epoch = [sampler.minibatch(step) for step in range(4, 8)]
    assert sampler.steps_per_epoch == 4
    np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), cells)
    np.testing.assert_array_equal(EpochSampler(cells, 64, seed=1).minibatch(6), epoch[2])
    assert not np.array_equal(sampler.minibatch(0), sampler.minibatch(4))


def test_the_warm_up_follows_the_planned_steps() -> None:
    options = {"batch_size": 128, "learning_rate": 1e-3, "patience": 10, "seed": 0}
    few, _ = plan_training(1_000, steps=0, **options)
    many, reasons = plan_training(1_000_000, steps=0, **options)
    assert few.warmup_steps == round(0.3 * few.steps)
    assert many.warmup_steps == round(0.3 * many.steps)
    assert many.steps > few.steps
    said = " ".join(reasons)
    for what in (
        "128 cells in a minibatch, as asked",
        "steps of 128",
        "rate of 0.001",
        "KL weight",
    ):
        assert what in said


def test_values_of_another_cohort_are_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"--normalized .*: holds values of another cohort"):
        train.run(TrainParams(), trained.later, trained.normalized, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_batches_that_the_sample_hardly_shows_are_levelled_by_their_own_cells(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Anchors, "MOST", 40)
    apart = []
    for cells in (0, 500):
        monkeypatch.setattr(vae_fit, "CELLS_OF_LEAF", cells)
        params = TrainParams(model_class="scgen", steps=100)
        made = train.run(params, trained.cohort, trained.normalized, str(tmp_path / f"{cells}"))
        cohort, model = open_cohort(trained.cohort), load_model(made)
        places, leaf = model.embedding(cohort, cohort.obs()), model.tree.leaf_codes(cohort.obs())
        centres = np.stack([places[leaf == k].mean(axis=0) for k in np.unique(leaf)])
        apart.append(np.linalg.norm(centres.std(axis=0)) / np.linalg.norm(places.std(axis=0)))
    assert apart[1] < 0.7 * apart[0]
