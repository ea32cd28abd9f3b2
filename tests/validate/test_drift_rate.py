"""The drift decision over simulated runs: quiet at its rate without drift, loud with it.

Cells of three kinds in the embedding, their libraries, and counts of genes; a run moves all of
them by draws of its own and has a mix of kinds of its own. `make bench-drift-rate` does the same
with 1,000 studies of simulated counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from levelseq.validate import drift_decision
from levelseq.validate.drift import latent_shift
from levelseq.validate.drift_decision import FALSE_ALARM_RATE, DriftTable
from levelseq.validate.drift_measures import Reference, quality_measures
from levelseq.validate.gene_means import (
    gene_scale,
    relative_ratios,
    spread,
    standout,
    unseen_standouts,
)

RUNS, CELLS, GENES = 8, 60, 150
KINDS = 8 * np.eye(3, 4)
DEPOSITS = 100
MOST = int(binom.ppf(1 - 1e-3, DEPOSITS, FALSE_ALARM_RATE))


class Run(NamedTuple):
    """A run's cells, and its counts of the genes over those expected."""

    places: np.ndarray
    quality: np.ndarray
    observed: np.ndarray
    expected: np.ndarray

    @classmethod
    def draw(cls, random: np.random.Generator, shift=0.0, depth=0.0, lot=0.0) -> Run:
        """With batch effects, and drift of the embedding, the depth, or a few genes."""
        kind = random.choice(3, CELLS, p=random.dirichlet([8, 8, 8]))
        places = KINDS[kind] + random.normal(0, 0.3, 4) + shift + random.normal(size=(CELLS, 4))
        log = 7.5 + 0.5 * kind + random.normal(0, 0.2) + depth + random.normal(0, 0.5, CELLS)
        counts, genes = np.exp(log), np.exp(0.8 * log + random.normal(0, 0.1, CELLS))
        mito = random.beta(2, 40, CELLS) * np.exp(random.normal(0, 0.2))
        effect = random.normal(0, 0.25, GENES)
        effect[:8] += lot
        expected = np.full(GENES, 400.0)
        observed = random.poisson(expected * np.exp(effect))
        return cls(places, np.stack([counts, genes, 100 * mito], axis=1), observed, expected)


def beside(run: Run, others: list[Run]) -> dict[str, float]:
    places = np.concatenate([other.places for other in others])
    quality = np.concatenate([other.quality for other in others])
    reference = Reference.of(places, np.zeros(4), quality)
    found = quality_measures(run.places, run.quality, reference)
    found["latent"] = latent_shift(run.places, reference.kinds)
    found["expression"] = spread(run.observed, run.expected)
    return found


def later(seed: int, **drift: float) -> DriftTable:
    """A study of its own, and one run that comes later."""
    random = np.random.default_rng([7, seed])
    runs = [Run.draw(random) for _ in range(RUNS)]
    new = Run.draw(random, **drift)
    past = [beside(run, [o for o in runs if o is not run]) for run in runs]
    relative = np.array([relative_ratios(run.observed, run.expected) for run in runs])
    history = {name: tuple(found[name] for found in past) for name in past[0]}
    history["genes"] = tuple(unseen_standouts(relative))
    values = {name: (value,) for name, value in beside(new, runs).items()}
    own = relative_ratios(new.observed, new.expected)
    values["genes"] = (standout(own, gene_scale(relative)),)
    return DriftTable(("later",), values, history)


def failed(table: DriftTable) -> set[str]:
    return {gate.name for gate in table.gates() if gate.outcome == "fail"}


@pytest.fixture(scope="module")
def quiet() -> list[DriftTable]:
    return [later(seed) for seed in range(DEPOSITS)]


def test_deposits_without_drift_alarm_no_more_often_than_stated(quiet: list[DriftTable]) -> None:
    assert all(len(table.shares()) == 4 for table in quiet)
    assert sum(bool(failed(table)) for table in quiet) <= MOST


def test_a_rate_that_is_not_kept_would_be_seen(
    quiet: list[DriftTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_decision, "FALSE_ALARM_RATE", 0.15)
    alarms = sum(bool(failed(table)) for table in quiet)
    assert MOST < alarms < binom.ppf(1 - 1e-3, DEPOSITS, 0.15)


@pytest.mark.parametrize(
    ("gate", "drift"),
    [
        ("drift.latent", {"shift": 6.0}),
        ("drift.qc", {"depth": 4.0}),
        ("drift.genes", {"lot": 3.0}),
        ("drift.expression", {"lot": 3.0}),
    ],
)
def test_strong_drift_is_seen_by_its_gate(gate: str, drift: dict[str, float]) -> None:
    seen = [gate in failed(later(1000 + seed, **drift)) for seed in range(10)]
    assert sum(seen) >= 5
