"""Fine-tuning: the new batch's drift goes, and replay keeps what the model knew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from levelseq.cohort import open_cohort
from levelseq.cohort.loader import gene_counts
from levelseq.models.anchors_moved import anchors_moved
from levelseq.models.augmentation import Augmentation
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.descent import Descent
from levelseq.models.expectation import gene_totals
from levelseq.models.fine_tune import _some_of_each, fine_tune, fine_tune_model
from levelseq.models.minibatches import CohortMinibatches
from levelseq.models.processes import ALONE
from levelseq.models.saving import load_model, read_metrics, read_model_json
from levelseq.models.training import held_out_loss
from levelseq.models.vae_fit import augmented
from levelseq.store import open_store
from levelseq.validate.gene_means import spread

from .conftest import Trained


@pytest.fixture(scope="module")
def tuned(trained: Trained) -> str:
    address = fine_tune_model(trained.model, trained.later, trained.workspace)
    assert address is not None
    return address


def loss_of(model: str, cohort: str) -> float:
    """Mean negative evidence lower bound of a cohort's cells, in nats."""
    loaded, opened = load_model(model), open_cohort(cohort)
    assert isinstance(loaded, VaeModel)
    obs = opened.obs()
    counts = gene_counts(opened, loaded.space)
    minibatches = CohortMinibatches(counts, loaded.tree.node_codes(obs))
    return held_out_loss(Descent(loaded.network), minibatches, np.arange(len(obs)), ALONE)


def test_the_parent_is_named_and_the_old_leaves_stay(trained: Trained, tuned: str) -> None:
    old, new = load_model(trained.model), load_model(tuned)
    assert read_model_json(tuned)["parent"] == read_model_json(trained.model)["key"]
    assert new.tree.leaves[: len(old.tree.leaves)] == old.tree.leaves
    assert len(new.tree.leaves) == len(old.tree.leaves) + 1
    metrics = read_metrics(tuned)
    assert metrics["replayed"] == open_cohort(trained.cohort).manifest["n_obs"]
    assert set(metrics["history"]["latent"]) == {">".join(leaf) for leaf in old.tree.leaves}


def test_the_drift_is_gone(trained: Trained, tuned: str) -> None:
    later = open_cohort(trained.later)
    (before,), (after,) = (
        gene_totals(model, later, later.obs(), model.embedding(later, later.obs())).values()
        for model in map(load_model, (trained.model, tuned))
    )
    assert spread(*after) < 0.4 * spread(*before)


def test_replay_keeps_the_likelihood_of_the_old_cells(trained: Trained, tuned: str) -> None:
    before, after = (loss_of(model, trained.cohort) for model in (trained.model, tuned))
    assert after < before + 0.01 * abs(before)


def test_how_far_the_anchors_values_move_is_told(trained: Trained, tuned: str) -> None:
    old, new = load_model(trained.model), load_model(tuned)
    assert isinstance(old, VaeModel)
    assert isinstance(new, VaeModel)
    assert anchors_moved(old, old) == 0
    moved = anchors_moved(old, new)
    assert read_metrics(tuned)["anchors_moved"] == pytest.approx(moved, rel=1e-4)
    shuffled = replace(new, anchors=replace(new.anchors, latent=new.anchors.latent[::-1].copy()))
    assert 0 < moved < 0.7 * anchors_moved(old, shuffled)


def test_a_second_time_is_the_first(trained: Trained, tuned: str) -> None:
    store = open_store(tuned)
    before = store.get("model.safetensors")
    assert fine_tune_model(trained.model, trained.later, trained.workspace) == tuned
    assert store.get("model.safetensors") == before


def test_without_the_cohort_it_was_trained_on_there_is_nothing_to_replay(
    trained: Trained, tmp_path: object
) -> None:
    assert fine_tune_model(trained.model, trained.later, str(tmp_path)) is None


def test_what_would_be_forgotten_is_not_tried(trained: Trained, tuned: str) -> None:
    assert fine_tune_model(tuned, trained.later, trained.workspace) is None


def test_every_new_leaf_has_a_cell_in_the_sample() -> None:
    leaf = np.array([3] * 50 + [4] + [3] * 9)
    found = _some_of_each(leaf, np.arange(60) + 100, 10)
    assert len(found) == len(np.unique(found)) == 10
    assert 150 in found


def test_the_random_changes_of_the_training_are_those_of_the_fine_tune(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noted(terms: tuple[str, ...], *given: Any) -> Augmentation:
        asked.append(terms)
        return augmented(terms, *given)

    monkeypatch.setattr("levelseq.models.fine_tune.augmented", noted)
    monkeypatch.setattr("levelseq.models.fine_tune.EPOCHS", 1)
    model, own, new = (
        load_model(trained.model),
        open_cohort(trained.cohort),
        open_cohort(trained.later),
    )
    params = read_model_json(trained.model)["params"] | {"augment": "gene_drop,mixing"}
    fine_tune(model, own, new, params)
    assert asked == [("gene_drop", "mixing")]
