"""Control charts: Westgard's rules on sequences whose answer is known, and their alarm rates."""

import json

import numpy as np
import pytest

from levelseq.validate.control_chart import (
    FEWEST,
    REFERENCE,
    control_chart,
    rules_broken,
    z_scores,
)

CALM = [0.3, -0.4, 0.1, -0.6, 0.5, -0.2, 0.4, -0.1, 0.2]


@pytest.mark.parametrize(
    ("z", "rules"),
    [
        ([0.5], ()),
        ([2.0], ()),
        ([-2.1], ("1_2s",)),
        ([3.1], ("1_2s", "1_3s")),
        ([2.1, 2.2], ("1_2s", "2_2s")),
        ([2.1, -2.2], ("1_2s", "R_4s")),
        ([-2.1, 1.9], ()),
        ([2.1, 1.9], ()),
        ([-1.1, -1.2, -1.3, -1.01], ("4_1s",)),
        ([-1.1, -1.2, -1.3, -0.99], ()),
        ([1.1, 1.2, -1.3, 1.1], ()),
        ([0.1] * 10, ("10x",)),
        ([-0.1, *[0.1] * 9], ()),
        ([1.1] * 10, ("4_1s", "10x")),
        ([3.2, *[-0.2] * 9, -2.5], ("1_2s", "10x")),
        ([3.2, 0.1], ()),
        ([2.5, float("nan"), 2.5], ("1_2s",)),
        ([float("nan")], ()),
    ],
)
def test_the_last_run_breaks_westgards_rules(z, rules):
    assert rules_broken(z) == rules
    assert rules_broken([-value for value in z]) == rules


def test_z_is_standard_normal_in_control_however_short_the_history():
    draws = np.random.default_rng(0).normal(3, 0.2, size=(4000, 40))
    z = np.array([z_scores(row) for row in draws])
    assert np.isnan(z[:, :FEWEST]).all()
    for run in (FEWEST, 10, REFERENCE, 39):
        # Four standard errors of the mean, and of a share of 4.55 %.
        assert abs(z[:, run].mean()) < 4 / np.sqrt(4000)
        assert abs(z[:, run].std() - 1) < 4 / np.sqrt(2 * 4000)
        assert abs((np.abs(z[:, run]) > 2).mean() - 0.0455) < 4 * np.sqrt(0.0455 / 4000)


def test_a_long_history_gives_the_textbook_z():
    past = np.random.default_rng(1).normal(10, 2, REFERENCE)
    z = z_scores([*past, 16.0])[-1]
    textbook = (16 - past.mean()) / past.std(ddof=1)
    # Twenty runs are not all runs: the prediction is a little wider than the textbook's.
    assert 0.75 * textbook < z < textbook


def test_limits_stay_once_twenty_runs_have_established_them():
    past = list(np.random.default_rng(2).normal(0, 1, REFERENCE))
    shifted = [1.5] * 10
    first = control_chart("mixing.ilisi", past, 1.5, None)
    later = control_chart("mixing.ilisi", [*past, *shifted], 1.5, None)
    assert later.limits == first.limits
    assert later.z == first.z
    assert "10x" in later.rules


def test_a_value_on_a_limit_has_that_z():
    past = list(np.random.default_rng(3).normal(0.8, 0.02, 12))
    chart = control_chart("conservation.bio", past, 0.8, [0.7, None])
    for limit, z in zip(chart.limits, (-3, -2, 0, 2, 3)):
        assert control_chart("conservation.bio", past, limit, None).z == pytest.approx(z, abs=1e-6)


def test_a_jump_warns_and_says_where_it_goes():
    past = [0.8 + 0.01 * z for z in CALM]
    down = control_chart("conservation.neighbours_kept", past, 0.6, [0.5, None])
    assert (down.outcome, down.alarms) == ("warn", True)
    assert "1_3s" in down.rules
    assert "below what 9 earlier runs predict" in down.reason
    assert down.reason.endswith("towards its limit.")
    up = control_chart("conservation.neighbours_kept", past, 0.99, [0.5, None])
    assert up.reason.endswith("away from its limit.")
    calm = control_chart("conservation.neighbours_kept", past, 0.801, [0.5, None])
    assert (calm.outcome, calm.alarms, calm.rules) == ("pass", False, ())


def test_beyond_two_sd_warns_without_alarm():
    past = list(np.random.default_rng(4).normal(0, 1, REFERENCE))
    limits = control_chart("drift.latent", past, 0.0, None).limits
    chart = control_chart("drift.latent", past, (limits[3] + limits[4]) / 2, None)
    assert chart.rules == ("1_2s",)
    assert (chart.outcome, chart.alarms) == ("warn", False)


@pytest.mark.parametrize(
    ("past", "value", "because"),
    [
        (CALM[: FEWEST - 1], 0.1, "needs 5 earlier runs"),
        (CALM, None, "no value"),
        ([0.0] * 8, 0.1, "no spread"),
    ],
)
def test_without_enough_history_there_is_no_chart_and_a_reason(past, value, because):
    chart = control_chart("signature.false_genes", past, value, [None, 0.01])
    assert chart.outcome == "not_evaluated"
    assert because in chart.reason
    assert json.loads(json.dumps(chart.as_json(), allow_nan=False))["rules"] == []


def test_in_control_few_runs_alarm():
    """Alarms other than 1_2s: below 2 % of the runs of one gate that is in control."""
    draws = np.random.default_rng(5).normal(size=(3000, 30))
    z = np.array([z_scores(row) for row in draws])
    rate = np.mean([set(rules_broken(row)) - {"1_2s"} != set() for row in z])
    assert 0.002 < rate < 0.02


def test_a_shift_of_three_sd_is_found_within_four_runs():
    draws = np.random.default_rng(6).normal(size=(500, REFERENCE + 4))
    draws[:, REFERENCE:] += 3
    z = np.array([z_scores(row) for row in draws])
    found = [
        any(set(rules_broken(row[:stop])) - {"1_2s"} for stop in range(REFERENCE + 1, 25))
        for row in z
    ]
    assert np.mean(found) > 0.9
