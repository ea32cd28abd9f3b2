"""The published schemas: what they take, and that they take nothing else."""

import copy
import json

import jsonschema
import pytest

from levelseq.schemas import KINDS, schema_text
from levelseq_pipelines.cli import main

KEY = "9f" * 16
GATE = {
    "name": "signature.slope",
    "value": 0.97,
    "threshold": [0.8, None],
    "outcome": "pass",
    "reason": "",
    "threshold_from": "default",
}
VERDICT = {
    "schema": "levelseq.verdict/1",
    "run": "r1",
    "params": {},
    "cohort": KEY,
    "normalized": KEY,
    "model": KEY,
    "champion": None,
    "data": "release",
    "model_decision": "promote",
    "reasons": ["All gates passed."],
    "gates": [GATE],
    "charts": [],
    "baseline": {"tissue": [], "assay": [], "earlier": 0},
    "governance": {
        "schema": "levelseq.governance/1",
        "observations": 10,
        "genes": 5,
        "classifiers": [],
        "drivers": [],
        "sets": [],
        "generalization": [],
        "diversity": {"smallest": 5, "columns": {}},
    },
    "drift": None,
    "controls": [],
    "scores": {"scib_total": 0.85, "scib_metrics": "0.5.10"},
}

CONFIDENCE = {
    "probability": 0.87,
    "because": "Of cohorts with evidence like this 87 of 100 were right.",
    "evidence": {"mixing": 0.3, "agreement": None},
    "calibrated": {
        "judged": 10,
        "studies": 2,
        "base_rate": 0.4,
        "auroc": 0.9,
        "ece": 0.05,
        "brier": 0.1,
        "reliability": [{"low": 0.9, "high": 1.0, "said": 0.95, "right": 0.9, "judged": 10}],
    },
}


def checker(kind):
    schema = json.loads(schema_text(kind))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("kind", KINDS)
def test_each_schema_is_one_and_names_its_kind(kind, capsys):
    schema = checker(kind).schema
    assert schema["$id"] == f"urn:levelseq:{kind}:1"
    assert set(schema["required"]) <= schema["properties"].keys()
    assert main(["schema", kind]) == 0
    assert json.loads(capsys.readouterr().out) == schema


def test_a_kind_that_is_none_is_refused(capsys):
    assert main(["schema", "diary"]) == 2
    assert "invalid choice" in capsys.readouterr().err


def test_a_verdict_fits_and_keys_may_come(capsys):
    checker("verdict").validate(VERDICT)
    checker("verdict").validate(VERDICT | {"of_a_later_release": 1})
    for told in (CONFIDENCE, CONFIDENCE | {"probability": None}):
        checker("verdict").validate(VERDICT | {"confidence": told})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "levelseq.verdict/2"),
        (("data",), "maybe"),
        (("model_decision",), None),
        (("cohort",), "9f"),
        (("gates",), []),
        (("gates", 0, "outcome"), "passed"),
        (("gates", 0, "value"), "0.97"),
        # What was not evaluated has no value, and what has an outcome has one.
        (("gates", 0, "value"), None),
        (("gates", 0, "threshold"), [0.8]),
        (("gates", 0, "name"), "Signature slope"),
        (("scores", "scib_total"), [0.85]),
        (("drift",), {"batches": []}),
        (("governance", "diversity"), {}),
        (("confidence", "probability"), 1.5),
        (("confidence", "because"), ""),
        (("confidence", "calibrated"), {}),
    ],
)
def test_what_is_no_verdict_is_refused(path, value):
    broken = copy.deepcopy(VERDICT | {"confidence": CONFIDENCE})
    *way, last = path
    at = broken
    for key in way:
        at = at[key]
    at[last] = value
    with pytest.raises(jsonschema.ValidationError):
        checker("verdict").validate(broken)


def test_every_key_that_is_promised_is_asked_for():
    for key in VERDICT:
        lacking = {k: v for k, v in VERDICT.items() if k != key}
        with pytest.raises(jsonschema.ValidationError):
            checker("verdict").validate(lacking)
