"""Drift: sampling and another mix of cells are not drift, a shift is; alarms at their rate."""

from __future__ import annotations

import numpy as np
import pytest

from levelseq.validate.drift import FALSE_ALARM_RATE, History, Prototypes, drift_gate, latent_shift

KINDS = np.array([[0.0, 0, 0], [8, 0, 0], [0, 8, 0]])


def cells(random: np.random.Generator, kinds: list[int], each: int) -> np.ndarray:
    return np.concatenate([KINDS[k] + random.normal(size=(each, 3)) for k in kinds])


@pytest.fixture(scope="module")
def prototypes() -> Prototypes:
    anchors = cells(np.random.default_rng(0), [0, 1, 2], 50)
    return Prototypes.of(anchors, np.zeros(3))


def test_a_batch_like_the_anchors_has_not_drifted(prototypes: Prototypes) -> None:
    random = np.random.default_rng(1)
    shifts = [latent_shift(cells(random, [0, 1, 2], 40), prototypes) for _ in range(50)]
    assert np.mean(shifts) < 0.3


def test_another_mix_of_kinds_is_not_drift(prototypes: Prototypes) -> None:
    random = np.random.default_rng(2)
    shifts = [latent_shift(cells(random, [1, 1, 1, 2], 40), prototypes) for _ in range(50)]
    assert np.mean(shifts) < 0.3


def test_a_shift_is_measured_in_standard_deviations_of_a_kind(prototypes: Prototypes) -> None:
    moved = cells(np.random.default_rng(3), [0, 1, 2], 100) + np.array([1.2, 0, 0])
    assert latent_shift(moved, prototypes) == pytest.approx(1.2, abs=0.25)


def test_a_shift_in_a_dimension_that_is_noise_to_the_model_does_not_count() -> None:
    anchors = cells(np.random.default_rng(0), [0, 1, 2], 50)
    moved = cells(np.random.default_rng(3), [0, 1, 2], 100) + np.array([0, 0, 1.2])
    sure = latent_shift(moved, Prototypes.of(anchors, np.zeros(3)))
    unsure = latent_shift(moved, Prototypes.of(anchors, np.array([0, 0, 100.0])))
    assert unsure < 0.3 < sure


def test_too_few_cells_say_nothing(prototypes: Prototypes) -> None:
    assert np.isnan(latent_shift(KINDS[[0, 1, 2]], prototypes))


@pytest.mark.parametrize("batches", [1, 4])
def test_false_alarms_come_at_their_rate(batches: int) -> None:
    random = np.random.default_rng(4)
    alarms, trials = 0, 20_000
    for _ in range(trials):
        root = 0.5 + 0.08 * random.normal(size=8 + batches)
        limit = History(tuple(root[:8] ** 2)).limit(batches)
        assert limit is not None
        alarms += (root[8:] ** 2).max() > limit
    assert 0.6 * FALSE_ALARM_RATE < alarms / trials < 1.4 * FALSE_ALARM_RATE


def test_two_batches_of_history_set_no_limit() -> None:
    gate = drift_gate("drift.latent", {"b": 9.0}, History((0.1, 0.2)), "{batch} {shift}")
    assert gate.outcome == "not_evaluated"
    assert "three batches" in gate.reason


def test_the_worst_batch_decides_and_is_named() -> None:
    history = History((0.2, 0.22, 0.18, 0.21))
    gate = drift_gate("drift.latent", {"a": 0.2, "b": 3.0}, history, "Batch {batch}: {shift}")
    assert (gate.outcome, gate.value, gate.threshold_from) == ("fail", 3.0, "baseline")
    assert gate.reason.startswith("Batch b: 3.00; 4 batches of the history predict at most")
