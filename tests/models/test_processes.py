"""Two processes that torchrun starts train one model, about as one process does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from levelseq.errors import BadInput, BadOption
from levelseq.models.networks import ConditionalVAE
from levelseq.models.processes import Processes, joined
from levelseq.models.saving import load_model, read_metrics
from levelseq.models.training import TrainingPlan, train_network
from levelseq.store import open_store
from levelseq.train import step as train

from .conftest import TRAINING, Trained
from .torchrun import start


def test_two_processes_write_one_model_as_good_as_that_of_one(
    trained: Trained, tmp_path: Path
) -> None:
    running = start(trained, tmp_path, checkpoint_seconds=0)
    said, log = running.communicate(timeout=120)
    assert running.returncode == 0, log
    (address,) = said.split()
    assert log.count("ConditionalVAE written") == len(re.findall(r"\btrained\b", log)) == 1
    together = address.removesuffix("/model.json")
    assert together.rsplit("/", 1)[-1] == trained.model.rsplit("/", 1)[-1]
    assert open_store(str(tmp_path)).list("checkpoints") == []
    found, expected = (min(read_metrics(m)["held_out_loss"]) for m in (together, trained.model))
    assert found == pytest.approx(expected, rel=3e-3)
    assert "trained by 2 processes" in read_metrics(together)["reasons"]
    assert load_model(together).KIND == load_model(trained.model).KIND


def test_two_processes_train_style_transfer_as_well_as_one(
    trained: Trained, tmp_path: Path
) -> None:
    asked = TRAINING.model_copy(update={"model_class": "gan"})
    alone = train.run(asked, trained.cohort, trained.normalized, str(tmp_path / "alone"))
    running = start(trained, tmp_path / "together", model_class="gan")
    said, log = running.communicate(timeout=240)
    assert running.returncode == 0, log
    together = said.strip().removesuffix("/model.json")
    assert load_model(together).KIND == "StyleTransfer"
    found, expected = (min(read_metrics(m)["held_out_loss"]) for m in (together, alone))
    assert found == pytest.approx(expected, rel=1e-2)


def test_two_processes_stop_early_together(trained: Trained, tmp_path: Path) -> None:
    running = start(trained, tmp_path, steps=1000, patience=1, learning_rate=0.05)
    said, log = running.communicate(timeout=120)
    assert running.returncode == 0, log
    metrics = read_metrics(said.strip().removesuffix("/model.json"))
    epoch = metrics["steps"] / len(metrics["held_out_loss"])
    assert metrics["steps"] == metrics["best_step"] + epoch < 1000


def test_a_loss_that_is_not_a_number_ends_two_processes_with_its_gene_and_batch(
    trained: Trained, tmp_path: Path
) -> None:
    running = start(trained, tmp_path, learning_rate=1e18)
    said, log = running.communicate(timeout=120)
    assert not said
    # torchrun may end the other one before it has said so too.
    assert "exitcode  : 2" in log.partition("Root Cause")[2], log
    named = re.findall(r"training loss is \w+ at step \d+, from .* of gene \S+ in batch \S+", log)
    assert len(set(named)) == 1, log
    assert open_store(str(tmp_path)).list("models") == []


def test_processes_share_a_minibatch_without_a_rest() -> None:
    cells = np.arange(67)
    parts = [Processes(rank, 3).part(cells) for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), cells)
    assert len({Processes(rank, 3).seed(7) for rank in range(3)}) == 3


def test_minibatches_too_small_for_the_processes_are_refused() -> None:
    network, plan = ConditionalVAE(10, [2]), TrainingPlan(40, 64, 2e-3, 20, 30, seed=3)
    with pytest.raises(BadOption, match="64 cells in a minibatch are fewer than 8 for each of 9"):
        train_network(network, range(500), plan, None, Processes(0, 9))


def test_half_an_environment_of_several_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(BadInput, match="RANK is not set"), joined():
        pass
