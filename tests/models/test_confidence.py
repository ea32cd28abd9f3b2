"""Labels that the anchors give to later cells, and what their confidence is worth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from levelseq.cohort import open_cohort, open_normalized
from levelseq.models.anchors import Anchors
from levelseq.models.calibration import Calibration, auroc, expected_calibration_error
from levelseq.models.label_fit import with_labels
from levelseq.models.label_transfer import LabelTransfer, label_codes, vote
from levelseq.models.mapping import map_cohort
from levelseq.models.saving import Model, load_model, read_metrics, read_model_json, save_model
from levelseq.normalize.params import NormalizeParams
from levelseq.store import open_store

from .conftest import Trained


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evidence whose odds are known: log odds 2 share - 1.5 distance + 0.5."""
    random = np.random.default_rng(seed)
    evidence = random.normal(size=(n, 2)) * [2.0, 0.8]
    true = 1 / (1 + np.exp(-(evidence @ [2.0, -1.5] + 0.5)))
    return evidence, random.random(n) < true, true


def test_the_calibration_finds_the_probabilities_that_drew_the_answers() -> None:
    evidence, right, _ = drawn(4000, 0)
    later, later_right, true = drawn(4000, 1)
    confidence = Calibration.fit(evidence, right).probability(later)
    assert np.abs(confidence - true).mean() < 0.02
    assert expected_calibration_error(confidence, later_right) < 0.03
    assert auroc(confidence, later_right) == pytest.approx(auroc(true, later_right), abs=0.01)


def test_no_cell_gains_confidence_by_lying_far_away_or_by_a_smaller_share() -> None:
    evidence, right, _ = drawn(2000, 0)
    turned = Calibration.fit(evidence * [1, -1], right)
    assert turned.slope[0] > 0 == turned.slope[1]
    assert Calibration.fit(evidence * [-1, -1], right).slope == (0.0, 0.0)


def test_labels_that_are_all_right_are_neither_certain_nor_of_one_confidence() -> None:
    evidence = np.abs(np.random.default_rng(0).normal(size=(300, 2))) * [2.0, 0.1]
    curve = Calibration.fit(evidence, np.ones(300, dtype=bool))
    near, even, far = curve.probability(np.array([[4.0, 0.0], [0.0, 0.0], [4.0, np.log(10)]]))
    assert 0.95 < near < 1
    assert max(even, far) < near


def test_the_calibration_error_is_the_mean_gap_over_bins_of_equal_mass() -> None:
    confidence = np.repeat([0.55, 0.95], 50)
    right = np.r_[np.ones(20), np.zeros(30), np.ones(50)].astype(bool)
    assert expected_calibration_error(confidence, right) >= 0.1
    halves = np.tile([True, False], 50)
    assert expected_calibration_error(np.full(100, 0.5), halves) == pytest.approx(0)
    assert np.isnan(auroc(confidence, np.ones(100, dtype=bool)))


def test_a_vote_is_of_the_nearest_and_the_near_weigh_more() -> None:
    anchors = np.r_[np.full(5, 0.1), np.full(10, 1.0), np.full(30, 9.0)][:, None]
    code = np.r_[np.zeros(5), np.ones(10), np.full(30, 2)].astype(int)
    share, distance = vote(anchors, code, 3, np.zeros((1, 1)))
    weights = np.array([5 * np.exp(-0.01), 10 * np.exp(-1), 0])
    np.testing.assert_allclose(share[0], weights / weights.sum())
    assert distance[0] == pytest.approx(1.0)


def test_unknown_labels_have_no_number_and_no_vote() -> None:
    names, code = label_codes(["b", "NA", "a", "", "b"], ("", "NA"))
    assert names == ("a", "b")
    assert code.tolist() == [1, -1, 0, -1, 1]


@pytest.fixture(scope="module")
def labelled(trained: Trained) -> Model:
    return load_model(trained.model)


def test_a_later_batch_gets_labels_with_a_confidence(
    trained: Trained, labelled: Model, tmp_path: Path
) -> None:
    address = map_cohort(NormalizeParams(), trained.later, trained.model, str(tmp_path))
    obs = open_normalized(address).obs()
    right = (obs["label_transferred"].astype(str) == obs["cell_type"].astype(str)).to_numpy()
    assert set(obs["label_transferred"]) <= set(labelled.labels.names)
    assert right.mean() > 0.8
    assert obs["confidence"].between(0, 1).all()
    assert obs["confidence"].nunique() > 10


def test_what_training_measured_is_in_the_metrics_and_on_the_card(trained: Trained) -> None:
    found = read_metrics(trained.model)["labels"]
    assert found["names"] == 3
    assert found["anchors"] == 600
    assert found["accuracy"] > 0.8
    assert found["expected_calibration_error"] < 0.1
    assert (found["auroc"] is None) == (found["wrong"] < 20)
    card = open_store(trained.model).get("card.md").decode()
    assert f"accuracy of the transferred label: {found['accuracy']}" in card


def test_saved_labels_are_names_in_json_and_codes_in_a_tensor(
    trained: Trained, labelled: Model
) -> None:
    config = json.loads(open_store(trained.model).get("config.json"))["labels"]
    obs = open_cohort(trained.cohort).obs()
    assert config["names"] == sorted(obs["cell_type"].astype(str).unique())
    chosen = obs["cell_type"].astype(str).to_numpy()[Anchors.choose(len(obs), 0)]
    assert np.array(config["names"])[labelled.labels.code].tolist() == chosen.tolist()


def test_labels_change_nothing_of_what_was_trained(
    trained: Trained, labelled: Model, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path / "m"))
    manifest = {"key": "without", "params": {}, "cohort": "x", "parent": None}
    save_model(store, replace(labelled, labels=None), manifest, read_metrics(trained.model))
    without = load_model(store.address)
    assert without.labels is None
    address = map_cohort(NormalizeParams(), trained.later, store.address, str(tmp_path))
    obs = open_normalized(address).obs()
    assert not {"label_transferred", "confidence"} & set(obs.columns)
    whole = map_cohort(NormalizeParams(), trained.later, trained.model, str(tmp_path))
    np.testing.assert_array_equal(
        open_normalized(address).embedding(), open_normalized(whole).embedding()
    )


class Relabelled:
    """A cohort whose label column is another one."""

    def __init__(self, address: str, labels: pd.Series | None) -> None:
        self._cohort, self._labels = open_cohort(address), labels

    def __getattr__(self, name: str) -> object:
        return getattr(self._cohort, name)

    def obs(self) -> pd.DataFrame:
        return self._cohort.obs().assign(other=self._labels)

    def role(self, name: str) -> str | None:
        return "other" if self._labels is not None else None


def test_a_cohort_without_labels_gives_a_model_without(trained: Trained, labelled: Model) -> None:
    model, found = with_labels(labelled, Relabelled(trained.cohort, None), 0)
    assert model is labelled
    assert found == {}


@pytest.mark.parametrize("known", ["one batch", "forty cells"])
def test_too_few_labels_give_no_confidence_and_say_so(
    trained: Trained, labelled: Model, known: str
) -> None:
    obs = open_cohort(trained.cohort).obs()
    labels = obs["cell_type"].astype(str).copy()
    if known == "one batch":
        labels[(obs["run"].astype(str) != "run1").to_numpy()] = "NA"
    else:
        labels.iloc[np.random.default_rng(0).permutation(len(obs))[40:]] = "unknown"
    model, found = with_labels(labelled, Relabelled(trained.cohort, labels), 0)
    assert "two batches with labels and 50 labelled observations" in found["reason"]
    given = model.labels.apply(model.anchors.embedding[:30], model.anchors)
    assert given.confidence is None
    assert set(given.label) <= set(obs["cell_type"].astype(str))
    again = LabelTransfer.from_config(model.labels.to_config(), model.labels.code)
    assert again.calibration is None


def test_shuffled_labels_earn_no_confidence(trained: Trained, labelled: Model) -> None:
    labels = open_cohort(trained.cohort).obs()["cell_type"].astype(str)
    shuffled = labels.sample(frac=1, random_state=0).set_axis(labels.index)
    model, found = with_labels(labelled, Relabelled(trained.cohort, shuffled), 0)
    given = model.labels.apply(model.anchors.embedding, model.anchors)
    assert found["accuracy"] < 0.5
    assert given.confidence.max() < 0.7


def test_a_model_of_an_earlier_release_has_no_labels() -> None:
    golden = Path(__file__).parents[1] / "golden/model-0.1.0-vae"
    assert load_model(str(golden)).labels is None
    assert "labels" not in read_model_json(str(golden))
