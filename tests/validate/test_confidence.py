"""The confidence: what it says, when it says nothing, and that it is what its table says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_studies import draw, perfect

from levelseq.validate.agreement import agreement
from levelseq.validate.confidence import calibrated, confidence
from levelseq.validate.confidence_curve import Calibrated
from levelseq.validate.confidence_evidence import METRICS, NAMES, SCOPE, metrics
from levelseq.validate.unintegrated import components, log_cp10k

TABLE = Path(__file__).parents[1] / "benchmarks/cohort_confidence.csv"
GOOD = {
    "neighbours_kept": 0.97,
    "mixing": 0.3,
    "batch_variance": -0.001,
    "agreement": -0.01,
    "weakest_agreement": -0.05,
    "gene_correlation": 0.998,
    "signature_correlation": 1.0,
    "signature_size": 0.0,
    "batches": 4.0,
    "observations_a_batch": 250.0,
}


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(TABLE)


def asked(**changes):
    return confidence(GOOD | changes, metrics())


def test_a_cohort_that_lacks_nothing_is_trusted():
    found = asked()
    assert found.probability > calibrated().coin[1]
    assert f"{round(100 * found.probability)} of 100 were right" in found.because
    assert found.as_json()["calibrated"]["reliability"]


@pytest.mark.parametrize("name", NAMES)
def test_less_evidence_never_gives_more_confidence(name):
    by = calibrated()
    place = NAMES.index(name)
    rows = np.tile([GOOD[each] for each in NAMES], (50, 1))
    rows[:, place] = np.linspace(by.low_F[place], by.high_F[place], 50)
    assert (np.diff(by.probability(rows)) >= 0).all()


@pytest.mark.parametrize(
    "name", ["neighbours_kept", "mixing", "agreement", "signature_correlation"]
)
def test_what_matters_most_counts(name):
    assert calibrated().slope_F[NAMES.index(name)] < 0


@pytest.mark.parametrize("name", NAMES)
def test_evidence_out_of_the_calibrations_range_is_not_answered(name):
    by = calibrated()
    found = asked(**{name: float(by.low_F[NAMES.index(name)]) - 1})
    assert found.probability is None
    assert "saw no such cohort" in found.because
    assert name.replace("_", " ") in found.because


@pytest.mark.parametrize("name", SCOPE)
def test_a_cohort_of_another_size_is_not_answered(name):
    found = asked(**{name: 10_000.0})
    assert found.probability is None
    assert name.replace("_", " ") in found.because


def test_each_piece_in_its_range_and_yet_far_from_all_that_was_seen():
    by = calibrated()
    far = {name: float(value) for name, value in zip(NAMES, by.low_F)}
    found = asked(**far)
    assert found.probability is None
    assert "together" in found.because


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_what_was_not_measured_is_named(missing):
    found = asked(neighbours_kept=missing)
    assert found.probability is None
    assert "neighbours kept could not be measured" in found.because
    assert found.as_json()["evidence"]["neighbours_kept"] is None


@pytest.mark.parametrize("name", METRICS)
def test_another_version_of_a_metric_is_not_answered(name):
    found = confidence(GOOD, metrics() | {name: "0"})
    assert found.probability is None
    assert name in found.because


def test_the_calibration_is_of_the_metrics_of_this_release():
    assert calibrated().metrics == metrics()


def test_an_even_chance_is_not_told():
    found = confidence(GOOD, metrics(), by=replace(calibrated(), coin=(0.01, 0.99)))
    assert found.probability is None
    assert "of 100 were right; it takes 99 or more" in found.because


def test_a_problem_goes_first():
    assert asked(mixing=None).because != confidence(GOOD, {}, "there is one batch only").because
    found = confidence({}, {}, "there is one batch only")
    assert found.because == "None can be told: there is one batch only."


def test_what_is_written_is_read_again():
    by = calibrated()
    again = Calibrated.from_json(by.to_json())
    assert again.to_json() == by.to_json()


def test_the_calibration_is_what_its_table_gives(table, monkeypatch):
    monkeypatch.syspath_prepend(str(TABLE.parent))
    from cohort_confidence_scores import Judged

    fitted = Judged.of(table).fit()
    by = calibrated()
    np.testing.assert_allclose(fitted.slope_F, by.slope_F, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(fitted.knot_F, by.knot_F, rtol=1e-5, atol=1e-8)
    assert fitted.intercept == pytest.approx(by.intercept, rel=1e-3)


def test_it_tells_right_from_wrong_better_than_the_verdict(table, monkeypatch):
    """By calibrations that had not seen the study, or the real set: the figures that it ships."""
    monkeypatch.syspath_prepend(str(TABLE.parent))
    from cohort_confidence_report import unseen
    from cohort_confidence_scores import Judged, by_verdict, figures

    whole = Judged.of(table)
    for rows in (whole.table["set"] == "simulated", whole.table["set"] != "simulated"):
        own = whole.where(rows)
        found = figures(unseen(whole)[rows], own, calibrated().coin)
        plain = by_verdict(own)
        assert found.auroc > plain["auroc"] + 0.05
        assert found.brier < plain["brier"]
        assert found.error < plain["error"] / 2
        assert found.answered > 0.3


def test_ways_that_go_wrong_get_no_confidence(table, monkeypatch):
    """Of what went wrong none is trusted, or hardly any: few cells misplaced are hard to see."""
    monkeypatch.syspath_prepend(str(TABLE.parent))
    from cohort_confidence_scores import Judged

    names = [f"e.{name}" for name in NAMES]
    wrong_ones = Judged.of(table).table.query("not right")
    for way, most in (("cycled", 0.0), ("labels only", 0.0), ("misplaced", 0.04), ("noisy", 0.02)):
        own = wrong_ones[(wrong_ones["way"] == way) & wrong_ones[names].notna().all(axis=1)]
        p = calibrated().probability(own[names].to_numpy())
        wrong = ~np.isfinite(p) | (p > calibrated().coin[1])
        assert len(own) >= 10
        assert wrong.mean() <= most, way


@pytest.fixture(scope="module")
def study():
    return draw(types=4, cells=200, batches=2, batch_sd=0.5, seed=3)


def test_like_beside_like_agrees_and_one_batchs_types_exchanged_do_not(study):
    before = components(log_cp10k(study.counts, study.library))
    after = components(perfect(study))
    good = agreement(before, after, study.batch)
    assert good.overall > -0.1
    wrong = after.copy()
    one, two = (study.label == name for name in ("type0", "type1"))
    here = study.batch == "b0"
    step = after[two].mean(axis=0) - after[one].mean(axis=0)
    wrong[one & here] += step
    wrong[two & here] -= step
    bad = agreement(before, wrong, study.batch)
    assert bad.overall < good.overall - 0.1
    assert bad.weakest < -0.5


def test_a_shift_of_a_whole_batch_is_no_disagreement(study):
    before = components(log_cp10k(study.counts, study.library))
    after = components(perfect(study))
    found = agreement(before, after, study.batch)
    moved = before + np.where(study.batch == "b0", 5.0, 0.0)[:, None].astype(before.dtype)
    assert agreement(moved, after, study.batch).overall > found.overall - 0.05


def test_one_batch_has_nothing_to_agree_with(study):
    before = components(log_cp10k(study.counts, study.library))
    found = agreement(before, before, np.full(len(before), "b"))
    assert np.isnan(found.overall)
    assert np.isnan(found.weakest)
