"""Scores beside controls: one that a control beats is called meaningless, and only that one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from levelseq.cohort import open_cohort, open_normalized
from levelseq.validate.evidence import gather
from levelseq.validate.peers import OWN, measure
from levelseq.validate.reasons import reasons
from levelseq.validate.score_controls import LABELS_ONLY, SHUFFLED, ScoreControls, control_scores


@pytest.fixture(scope="module")
def measured(workspace):
    return measured_at(workspace)


def measured_at(at):
    evidence = gather(open_cohort(at.cohort), open_normalized(at.normalized), 5000, 0)
    return evidence, measure(evidence, 0)


@pytest.fixture(scope="module")
def found(measured):
    return control_scores(*measured, 0)


def test_each_score_stands_beside_both_controls(found):
    for score in ("cilisi", "sc_graph", "gene_correlation", "variable_genes"):
        assert set(found.scores[score]) >= {OWN, SHUFFLED, LABELS_ONLY}, score
    assert set(found.scores["scib_total"]) == {OWN, "unintegrated", SHUFFLED}
    assert [gate.name for gate in found.gates] == [SHUFFLED, LABELS_ONLY]


def test_the_labels_alone_know_nothing_of_how_types_lie(found):
    shape, genes = found.scores["sc_graph"], found.scores["gene_correlation"]
    assert shape[OWN] > shape[LABELS_ONLY] + 0.2
    assert genes[OWN] > genes[LABELS_ONLY]
    assert shape[SHUFFLED] == pytest.approx(shape[OWN], abs=1e-6)


def test_what_cells_shuffled_within_types_surpass_is_meaningless(found):
    beaten = {score for score, of in found.scores.items() if of.get(SHUFFLED, 0) > of[OWN] + 1e-9}
    assert {score for score, by in found.meaningless().items() if SHUFFLED in by} == beaten
    assert not beaten & {"sc_graph", "gene_correlation", "variable_genes"}
    shuffled = found.gates[0]
    assert shuffled.outcome == ("warn" if beaten else "pass")
    assert all(score in shuffled.reason for score in beaten)
    content = found.as_json()
    assert content["meaningless"] == found.meaningless()
    assert content["scores"]["cilisi"][OWN] == pytest.approx(found.scores["cilisi"][OWN], rel=1e-5)


def test_mixing_of_unmixed_values_is_surpassed_by_a_shuffle(measured):
    evidence, peers = measured
    apart = peers.own.embedding + 5 * (evidence.batch_C == evidence.batches[0])[:, None]
    own = replace(peers.own, embedding=apart.astype(np.float32), scib=None)
    spoilt = control_scores(evidence, replace(peers, by_method=peers.by_method | {OWN: own}), 0)
    assert SHUFFLED in spoilt.meaningless()["cilisi"]
    gate = spoilt.gates[0]
    assert gate.outcome == "warn"
    assert gate.reason.endswith("these scores are meaningless here.")


def test_a_score_that_is_equal_is_not_beaten():
    equal = ScoreControls({"x": {OWN: 0.5, SHUFFLED: 0.5}, "y": {OWN: 0.5, SHUFFLED: 0.6}}, [])
    assert equal.meaningless() == {"y": [SHUFFLED]}


def test_without_labels_only_values_are_scored(plain):
    found = control_scores(*measured_at(plain), 0)
    assert set(found.scores) == {"gene_correlation", "variable_genes"}
    assert [gate.outcome for gate in found.gates] == ["not_evaluated"] * 2
    assert found.meaningless() == {}


def test_an_aside_speaks_neither_for_nor_against_the_data():
    said = reasons([], [], [], "The end.", ["Nothing to correct: so.", ""])
    assert said == [
        "No gate could be evaluated on these data.",
        "Nothing to correct: so.",
        "The end.",
    ]
