"""Scores beside controls: one that a control beats is called meaningless, and only that one."""

from __future__ import annotations

import pytest

from levelseq.cohort import open_cohort, open_normalized
from levelseq.validate.evidence import gather
from levelseq.validate.peers import OWN, measure
from levelseq.validate.reasons import reasons
from levelseq.validate.score_controls import LABELS_ONLY, SHUFFLED, ScoreControls, control_scores


def scored(at):
    evidence = gather(open_cohort(at.cohort), open_normalized(at.normalized), 5000, 0)
    return control_scores(evidence, measure(evidence, 0), 0)


@pytest.fixture(scope="module")
def found(workspace):
    return scored(workspace)


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
    mixing = found.scores["cilisi"]
    assert mixing[SHUFFLED] > mixing[OWN]
    assert SHUFFLED in found.meaningless()["cilisi"]
    assert "sc_graph" not in found.meaningless()
    shuffled = found.gates[0]
    assert shuffled.outcome == "warn"
    assert "cilisi" in shuffled.reason
    assert shuffled.reason.endswith("these scores are meaningless here.")
    content = found.as_json()
    assert content["meaningless"] == found.meaningless()
    assert content["scores"]["cilisi"][OWN] == pytest.approx(mixing[OWN], rel=1e-5)


def test_a_score_that_is_equal_is_not_beaten():
    equal = ScoreControls({"x": {OWN: 0.5, SHUFFLED: 0.5}, "y": {OWN: 0.5, SHUFFLED: 0.6}}, [])
    assert equal.meaningless() == {"y": [SHUFFLED]}


def test_without_labels_only_values_are_scored(plain):
    found = scored(plain)
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
