"""The history that a fresh model is given, and what lies beside it for later batches."""

from __future__ import annotations

import numpy as np
import pytest

from levelseq.cohort import open_cohort
from levelseq.models.drift_reference import FILE, DriftReference
from levelseq.models.saving import load_model, read_metrics
from levelseq.store import open_store
from levelseq.validate.drift_decision import DriftTable
from levelseq.validate.drift_evidence import measured, told_batches
from levelseq.validate.drift_measures import MEASURES, QUALITY

from .conftest import Trained


@pytest.fixture(scope="module")
def table(trained: Trained) -> DriftTable:
    """The later run, which has the drift of two protocols, beside the model's history."""
    model, later = load_model(trained.model), open_cohort(trained.later)
    places = model.embedding(later, later.obs())
    reference = DriftReference.read(trained.model)
    history = read_metrics(trained.model)["history"]
    return DriftTable(
        told_batches(model.tree, later),
        measured(model, reference, later, places),
        {name: tuple(values.values()) for name, values in history.items()},
    )


def test_every_measure_has_a_value_of_every_batch_as_if_unseen(trained: Trained) -> None:
    history = read_metrics(trained.model)["history"]
    leaves = {">".join(leaf) for leaf in load_model(trained.model).tree.leaves}
    assert set(history) == set(MEASURES)
    assert all(set(values) == leaves for name, values in history.items() if name != "pct_mito")
    assert history["pct_mito"] == {}


def test_drift_lies_beyond_every_batch_of_the_history(table: DriftTable) -> None:
    for name in ("expression", "n_counts", "n_genes", "psi"):
        assert abs(table.values[name][0]) > max(map(abs, table.history[name])), name


def test_the_gates_name_the_batch_and_the_attainable_rate(table: DriftTable) -> None:
    assert table.batches == ("site2>run5",)
    for gate in table.gates():
        assert gate.outcome in ("pass", "fail")
        assert "site2>run5" in gate.reason
        assert "1 in 5" in gate.reason


def test_what_a_leaf_was_trained_on_is_no_drift_of_its_library(trained: Trained) -> None:
    model, cohort = load_model(trained.model), open_cohort(trained.cohort)
    reference = DriftReference.read(trained.model)
    found = measured(model, reference, cohort, model.embedding(cohort, cohort.obs()))
    for name in ("n_counts", "n_genes"):
        assert np.abs(found[name]).max() < 1e-6
    assert np.abs(reference.known_LQ[:, QUALITY.index("n_counts")]).max() > 0.1


def test_a_model_of_a_version_without_the_file_is_judged_by_what_it_has(trained: Trained) -> None:
    store = open_store(trained.model)
    content = store.get(FILE)
    store.delete(FILE)
    try:
        assert DriftReference.read(trained.model) is None
        model, later = load_model(trained.model), open_cohort(trained.later)
        found = measured(model, None, later, model.embedding(later, later.obs()))
        assert set(found) == {"latent", "mmd", "c2st", "expression"}
    finally:
        store.put(FILE, content)
