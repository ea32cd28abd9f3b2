import json
import math

import pytest

from levelseq.recalibrate.decision import data_decision, model_decision
from levelseq.validate.gates import (
    Gate,
    Limits,
    judge,
    judge_soundly,
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


@pytest.mark.parametrize("family", ["mixing", "conservation", "signature", "governance"])
def test_a_failed_gate_refuses_the_data_and_a_warning_does_not(family):
    assert data_decision([gate("mixing.y", "pass"), gate(f"{family}.x", "fail")]) == "refuse"
    assert data_decision([gate("mixing.y", "pass"), gate(f"{family}.x", "warn")]) == "release"


def test_what_the_next_model_may_expect_refuses_nothing():
    assert data_decision([gate("generalization.type_by_site", "fail")]) == "release"


@pytest.mark.parametrize(
    ("value", "interval", "outcome"),
    [
        (0.95, (0.2, 1.7), "pass"),
        (0.85, (0.2, 0.86), "warn"),
        (0.7, (0.6, 0.79), "fail"),
        (0.7, (0.5, 0.81), "warn"),
        (0.7, None, "warn"),
    ],
)
def test_a_sound_gate_fails_only_with_its_whole_interval(value, interval, outcome):
    found = judge_soundly("governance.x", value, interval, LIMITS, "a reason")
    assert (found.outcome, found.interval) == (outcome, interval)


def test_interval_and_p_are_told_where_they_are_known():
    entry = Gate("a.b", 1.0, None, "pass", "why", interval=(0.12345678, 2.0), p=0.01).as_json()
    assert (entry["interval"], entry["p"]) == ([0.123457, 2.0], 0.01)
    assert not {"interval", "p"} & set(gate("a.b", "pass").as_json())


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
