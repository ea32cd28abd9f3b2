import json
import math

import pytest

from levelseq.validate.gates import (
    Gate,
    Limits,
    data_decision,
    judge,
    model_decision,
    not_evaluated,
    significant,
)

LIMITS = Limits((0.9, None), (0.8, None))


def gate(name, outcome):
    return Gate(name, 0.5, [0.8, None], outcome, "because")


@pytest.mark.parametrize(("value", "outcome"), [(0.95, "pass"), (0.85, "warn"), (0.7, "fail")])
def test_a_value_passes_warns_or_fails(value, outcome):
    found = judge("mixing.x", value, LIMITS, "a reason")
    assert (found.outcome, found.threshold) == (outcome, [0.9, None])


def test_what_is_not_a_number_is_not_evaluated_and_says_so():
    found = judge("mixing.x", math.nan, LIMITS, "too small")
    assert found.outcome == "not_evaluated"
    assert found.value is None
    assert "too small" in found.reason


def test_json_has_six_digits_and_no_nan():
    found = judge("mixing.x", 0.912345678, LIMITS, "a reason")
    assert json.loads(json.dumps(found.as_json(), allow_nan=False)) == {
        "name": "mixing.x",
        "value": 0.912346,
        "threshold": [0.9, None],
        "outcome": "pass",
        "reason": "a reason",
        "threshold_from": "default",
    }
    assert significant(math.inf) is None
    assert significant(-1234567.0) == -1234570.0
    assert not_evaluated("a.b", "why").as_json()["threshold"] is None


@pytest.mark.parametrize("family", ["mixing", "conservation", "signature"])
def test_a_failed_gate_refuses_the_data_and_a_warning_does_not(family):
    assert data_decision([gate("mixing.y", "pass"), gate(f"{family}.x", "fail")]) == "refuse"
    assert data_decision([gate("mixing.y", "pass"), gate(f"{family}.x", "warn")]) == "release"


def test_drift_judges_the_model_and_not_the_data():
    assert data_decision([gate("drift.latent", "fail")]) == "release"


@pytest.mark.parametrize(
    ("gates", "champion", "total", "champion_total", "expected"),
    [
        ([], None, 0.7, None, "promote"),
        ([gate("mixing.x", "fail")], None, 0.7, None, "keep"),
        ([gate("drift.latent", "fail")], "m", 0.7, 0.7, "recalibrate"),
        ([gate("drift.latent", "warn")], "m", 0.7, 0.7, "keep"),
        ([gate("mixing.x", "fail")], "m", 0.7, 0.7, "keep"),
        ([], "other", 0.7, 0.7, "promote"),
        ([], "other", 0.7, 0.71, "keep"),
        ([gate("signature.slope", "fail")], "other", 0.8, 0.7, "keep"),
        ([], "other", 0.8, None, "promote"),
    ],
)
def test_what_becomes_of_the_model(gates, champion, total, champion_total, expected):
    decision = model_decision(
        gates, model="m", champion=champion, total=total, champion_total=champion_total
    )
    assert decision.model == expected
    assert decision.reason.endswith(".")
