"""A change record tells a board what changed, by which protocol and to what effect."""

import json

import pytest

from levelseq.cohort import manifest_json
from levelseq.errors import BadInput, BadOption
from levelseq.registry import Registry, as_markdown, change_record
from levelseq.store import join, open_store
from levelseq_pipelines.cli import main

COHORTS = {"m1": "aa" * 16, "m2": "bb" * 16}


def gate(value, outcome="pass"):
    return {
        "name": "mixing.ilisi",
        "value": value,
        "threshold": [0.35, None],
        "outcome": outcome,
        "reason": "Batches mix.",
        "threshold_from": "default",
        "metric": "1",
    }


def verdict(run, model, value, **more):
    return {
        "run": run,
        "cohort": COHORTS[model],
        "model": model,
        "data": "release",
        "model_decision": "promote",
        "params": {"max_cells": 5000},
        "reasons": ["All passed."],
        "gates": [gate(value)],
        "scores": {"scib_metrics": "0.5.10"},
        **more,
    }


@pytest.fixture
def workspace(tmp_path):
    """A first champion, and one recalibrated from it."""
    place, store = str(tmp_path), open_store(str(tmp_path))
    models = {"m1": {"seed": 0, "steps": 100}, "m2": {"seed": 0, "steps": 200}}
    for key, params in models.items():
        parent = None if key == "m1" else "m1"
        manifest = {"class": "C", "params": params, "cohort": COHORTS[key], "parent": parent}
        store.put(f"models/{key}/model.json", manifest_json(manifest))
    store.put("runs/r1/verdict.json", manifest_json(verdict("r1", "m1", 0.5)))
    final = verdict("r2", "m2", 0.7, champion_gates={"mixing.ilisi": 0.2})
    store.put("runs/r2/verdict.json", manifest_json(final))
    store.put("models/m2/metrics.json", manifest_json({"anchors_moved": 0.04}))
    registry = Registry(place, "study")
    registry.promote("m1", "r1", ["First."])
    entry = {"action": "recalibrate", "model": "m2", "run": "r2", "reasons": ["It drifted."]}
    registry.follow(registry.append(entry))
    return place


def test_a_recalibration_tells_modification_protocol_and_impact(workspace):
    record = change_record(workspace, "study")
    assert record["entry"]["number"] == 2
    assert len(record["entry"]["previous"]) == 64
    change = record["modification"]
    assert (change["champion_before"], change["champion_after"]) == ("m1", "m2")
    assert change["adapted_from"] == "m1"
    assert change["params"] == {"steps": {"before": 100, "after": 200}}
    assert record["protocol"]["params"] == {"max_cells": 5000}
    assert record["protocol"]["gates"][0]["threshold"] == [0.35, None]
    impact = record["impact"]
    assert impact["reasons"] == ["It drifted."]
    assert impact["anchors_moved"] == 0.04
    assert impact["before_on"] == COHORTS["m2"], "the old champion was judged on the same cohort"
    assert impact["gates"] == [
        {"name": "mixing.ilisi", "before": 0.2, "after": 0.7, "outcome": "pass"}
    ]


def test_a_first_promotion_has_no_before(workspace):
    record = change_record(workspace, "study", 1)
    assert record["modification"]["champion_before"] is None
    assert record["modification"]["params"] == {}
    assert record["impact"]["gates"][0]["before"] is None
    assert "| mixing.ilisi | at least 0.35 | – | 0.5 | pass |" in as_markdown(record)


def test_a_rollback_names_the_champion_that_left_and_the_one_that_came_back(workspace):
    Registry(workspace, "study").rollback("m2 was fitted to swapped samples")
    record = change_record(workspace, "study")
    change = record["modification"]
    assert (record["entry"]["action"], change["champion_before"]) == ("rollback", "m2")
    assert change["champion_after"] == "m1"
    assert record["impact"]["gates"][0] == {
        "name": "mixing.ilisi",
        "before": 0.7,
        "after": 0.5,
        "outcome": "pass",
    }
    assert record["impact"]["before_on"] == COHORTS["m2"]
    assert "m2 was fitted to swapped samples" in as_markdown(record)


def test_a_dropped_challenger_leaves_the_champion(workspace):
    entry = {"action": "drop", "model": "m2", "run": "r3", "reasons": ["Worse."]}
    Registry(workspace, "study").append(entry)
    assert change_record(workspace, "study")["modification"]["champion_after"] == "m2"
    Registry(workspace, "study").rollback("back")
    entry = {"action": "drop", "model": "m9", "run": "r4", "reasons": ["Worse."]}
    Registry(workspace, "study").append(entry)
    assert change_record(workspace, "study")["modification"]["champion_after"] == "m1"


def test_what_a_dropped_challenger_gave_stands_beside_the_champions(workspace):
    tried = [
        {"rung": "re-fit", "model": "m8", "because": ["worse"], "gates": {"mixing.ilisi": 0.9}},
        {
            "rung": "adapters",
            "model": "m9",
            "because": ["its mixing.ilisi fails"],
            "gates": {"mixing.ilisi": 0.1, "drift.latent": None, "mixing.pcr": 0.04},
        },
        {"rung": "training", "model": None, "because": ["too many cells"]},
    ]
    own = [gate(0.6), gate(0.2) | {"name": "drift.latent", "threshold": [None, 0.1]}]
    own += [gate(0.02) | {"name": "mixing.pcr", "threshold": [None, 0.03]}]
    final = verdict("r3", "m2", 0.6, gates=own, challenger="m9", tried=tried)
    open_store(workspace).put("runs/r3/verdict.json", manifest_json(final))
    entry = {"action": "drop", "model": "m9", "run": "r3", "reasons": ["Worse."]}
    Registry(workspace, "study").append(entry)
    impact = change_record(workspace, "study")["impact"]
    assert impact["before_on"] == COHORTS["m2"]
    assert [tuple(row.values()) for row in impact["gates"]] == [
        ("mixing.ilisi", 0.6, 0.1, "fail"),
        ("drift.latent", 0.2, None, "not_evaluated"),
        ("mixing.pcr", 0.02, 0.04, "warn"),
    ]
    assert "| mixing.ilisi | at least 0.35 | 0.6 | 0.1 | fail |" in as_markdown(
        change_record(workspace, "study")
    )


def test_a_record_of_a_tampered_log_is_refused(workspace):
    store = open_store(join(workspace, "registry", "study"))
    store.put("log/000001.json", store.get("log/000001.json").replace(b"First", b"Forged"))
    with pytest.raises(BadInput, match="does not continue"):
        change_record(workspace, "study")


@pytest.mark.parametrize("number", [-1, 3])
def test_an_entry_that_is_not_there_is_refused(workspace, number):
    with pytest.raises(BadOption, match="no entry"):
        change_record(workspace, "study", number)


def test_the_command_prints_markdown_or_json(workspace, capsys):
    words = ["models", "change-record", "--workspace", workspace]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("# Change record 2 of study: recalibrate\n")
    for heading in ("## What changed", "## Protocol", "## Impact"):
        assert heading in said
    assert main([*words, "--entry", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == change_record(workspace, "study", 1)
