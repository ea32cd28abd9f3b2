"""What a design cannot tell is refused in one line that names it, and reported beforehand."""

from __future__ import annotations

import json
import time
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest

from levelseq import normalize_counts
from levelseq.errors import BadInput
from levelseq.normalize import combat
from levelseq.normalize.design import Design, check_design
from levelseq.normalize.design_report import design_report
from levelseq.normalize.design_strength import nearly_confounded
from levelseq_pipelines.cli import main

BATCH = np.repeat(["b1", "b2", "b3"], 4)
NAMES = [f"liver{i}" for i in range(12)]
X = np.random.default_rng(3).normal(5, 1, (12, 20))
ARMS = list("ABABAABBCCCC")


@pytest.mark.parametrize(
    ("design", "said"),
    [
        (Design(["b1"] * 12), "has one batch, 'b1', and two are needed.*tmm or log1p_cpm"),
        (
            Design(BATCH, {"drug": np.repeat(["yes", "no"], [8, 4])}),
            r"'drug': is confounded with batch: 'no' is in b3 \(4 samples\), 'yes' is in b1 b2 \(8 "
            r"samples\) \(use reference_ratio",
        ),
        (Design(BATCH, {"age": np.repeat([1e-9, 5e-9, 2e-9], 4)}), "'age'.*constant in every"),
        (Design(BATCH, {"copy": BATCH}, "lab"), "'copy': is confounded with lab"),
        (
            Design(BATCH, {"p": ["u", "v"] * 6, "q": ["m", "n"] * 6}),
            "columns p, q: say the same of every sample",
        ),
        (Design(BATCH, {"drug": ["yes", None] * 6}), "'drug': has no value for 6 of 12"),
        (Design([*BATCH[:11], np.nan]), "'batch': has no value for 1 of 12"),
        (Design(BATCH[:5]), "one value for each of 12"),
    ],
)
def test_a_design_that_cannot_be_fitted_is_refused_in_one_line(design, said):
    with pytest.raises(BadInput, match=said) as refused:
        combat.fit(X, design)
    assert "\n" not in str(refused.value)


def test_covariates_confounded_only_together_are_named():
    batch = np.repeat(["b1", "b2", "b3", "b4"], 3)
    p, q = np.tile([0.0, 1.0, 2.0], 4), np.tile([0.0, 1.0, 2.0], 4) + np.repeat([0, 1, 0, 1], 3)
    with pytest.raises(BadInput, match="columns p, q: are together confounded with batch"):
        combat.fit(X, Design(batch, {"p": p, "q": q}))


def test_nearly_confounded_is_told():
    drug = np.array(["yes"] + ["no"] * 15 + ["yes"] * 8)
    design = Design(np.repeat(BATCH, 2), {"drug": drug, "sex": ["f", "m"] * 12}).checked(24)
    assert nearly_confounded(design, design.coding()) == ["drug"]


def test_of_three_levels_those_that_can_be_compared_are_told_from_the_one_that_cannot():
    with pytest.raises(BadInput) as refused:
        check_design(Design(BATCH, {"arm": ARMS}).checked(12))
    line = str(refused.value)
    assert "column 'arm'" in line
    assert "'A' 'B' are in b1 b2 (8 samples), 'C' is in b3 (4 samples)" in line
    assert "reference_ratio with samples of a reference material in each batch" in line
    report = design_report(Design(BATCH, {"arm": ARMS}))
    assert report.covariates[0].linked == [["A", "B"], ["C"]]
    assert "leave out 4 samples of C" in report.offers
    kept = np.array(ARMS) != "C"
    check_design(Design(BATCH[kept], {"arm": np.array(ARMS)[kept]}).checked(8))


def test_levels_that_only_a_chain_of_batches_links_can_be_compared():
    arm = ["A", "A", "B", "B", "B", "B", "C", "C", "C", "C", "D", "D"]
    design = Design(BATCH, {"arm": arm}).checked(12)
    check_design(design)
    combat.fit(X, design)
    assert design_report(design).covariates[0].linked == [["A", "B", "C", "D"]]


def test_few_samples_are_named_only_where_names_are_given():
    batch, drug = np.repeat(["b1", "b2"], [9, 3]), np.repeat(["no", "yes"], [9, 3])
    design = Design(batch, {"drug": drug})
    with pytest.raises(BadInput, match=r"'yes' is in b2 \(3 samples liver9 liver10 liver11"):
        check_design(design.checked(12), names=NAMES)
    told, silent = design_report(design, NAMES), design_report(design)
    assert "liver10" in "".join(told.lines())
    assert "liver0" not in "".join(told.lines())
    assert "liver" not in "".join(silent.lines()) + silent.refusal
    assert silent.refusal


def test_a_sound_design_has_all_its_offers():
    report = design_report(Design(BATCH, {"drug": ["yes", "no"] * 6, "age": np.arange(12.0)}))
    assert report.refusal == ""
    assert report.cannot == []
    assert report.rank == report.columns == 5
    assert "shift and variance of each batch" in report.can
    assert "drug: from 12 samples in b1 b2 b3" in report.can
    assert any("age: 10% of its variance" in line for line in report.can)
    offers = " ".join(report.offers)
    assert "reference batch b1 (4 samples)" in offers
    assert "reference_ratio" in offers


def test_single_samples_missing_levels_and_lonely_levels_are_reported():
    batch = ["alone", *BATCH[1:]]
    drug = ["yes", "no", "no", "no", "yes", "no", "no", "no", "no", "no", "no", "no"]
    report = design_report(Design(batch, {"drug": drug}), NAMES)
    assert report.single == ["alone"]
    assert report.covariates[0].lacking == {"alone": ["no"], "b1": ["yes"], "b3": ["yes"]}
    assert report.covariates[0].one_level == ["alone", "b1", "b3"]
    text = "\n".join(report.lines())
    assert "variance within alone: one sample each" in text
    assert "leave out 1 sample liver0 of alone" in text
    assert "mean-only combat" in text
    assert "reference batch b2 (4 samples)" in text


def test_an_estimate_that_rests_on_few_samples_is_called_so():
    drug = np.array(["yes"] + ["no"] * 15 + ["yes"] * 8)
    design = Design(np.repeat(BATCH, 2), {"drug": drug})
    report = design_report(design, [f"s{i}" for i in range(24)])
    assert report.covariates[0].verdict == "estimated from few"
    assert "where 1 sample s0 differ from most: little of it" in " ".join(report.can)


@pytest.mark.parametrize(
    ("design", "said"),
    [
        (Design(["b1"] * 12), "b1 is the only one"),
        (
            Design(BATCH, {"age": np.repeat([1.0, 2.0, 3.0], 4)}),
            "age apart from batch: it is const",
        ),
        (Design(BATCH, {"sex": ["f"] * 12}), "sex: it has one value"),
        (Design(BATCH, {"p": ["u", "v"] * 6, "q": ["m", "n"] * 6}), "columns p, q: say the same"),
        (Design(list("abcdefghijkl")), "variance within a b c d …"),
    ],
)
def test_what_cannot_be_estimated_is_said(design, said):
    report = design_report(design)
    assert any(said in line for line in report.cannot)
    assert report.refusal or report.covariates[0].verdict == "constant"
    assert report.offers


def test_the_report_is_json():
    report = design_report(Design(BATCH, {"arm": ARMS, "age": np.arange(12)}), NAMES)
    again = json.loads(json.dumps(report.as_json()))
    assert again["covariates"][0]["samples_of"]["A"] == {"b1": 2, "b2": 2}
    assert again["refusal"] == report.refusal != ""


def test_batches_that_leave_no_sample_for_noise_are_refused():
    with pytest.raises(BadInput, match="12 samples in 12 batches leave nothing to tell noise by"):
        combat.fit(X, Design(list("abcdefghijkl")))


def counts_of(n=12):
    return pd.DataFrame(
        np.random.default_rng(4).negative_binomial(5, 0.05, (n, 60)) + 1, index=NAMES[:n]
    )


@pytest.mark.parametrize("method", ["combat", "combat_tree", "combat_seq", "remove_batch_effect"])
def test_a_refusal_says_what_this_design_can_be_used_for(method):
    with pytest.raises(BadInput) as refused:
        normalize_counts(counts_of(), method, pd.Series(BATCH, name="lab"), pd.Series(ARMS))
    line = str(refused.value)
    assert "column '" in line
    if method != "remove_batch_effect":
        assert "is confounded with lab: 'A' 'B' are in b1 b2 (8 samples), 'C' is in b3" in line
    for offer in (
        "reference_ratio with samples of a reference material in each batch",
        "leave out 4 samples of C",
        "leave condition out, whose differences then go with the batches'",
    ):
        assert offer in refused.value.do
    assert "\n" not in line


@pytest.mark.parametrize("method", ["combat", "combat_seq", "remove_batch_effect"])
def test_a_clean_design_brings_no_notice(method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        normalize_counts(counts_of(), method, BATCH, ["yes", "no"] * 6)


def test_a_weak_design_is_told_with_a_way_out():
    batch = ["alone", *np.repeat(BATCH[:8], 2)[:11]]
    drug = ["yes"] + ["no"] * 7 + ["yes"] * 3 + ["no"]
    with pytest.warns(UserWarning, match="cannot be estimated") as told:
        normalize_counts(counts_of(), "combat", batch, drug)
    text = "\n".join(str(warning.message) for warning in told)
    assert "cannot be estimated: variance within alone: one sample each" in text
    assert "offered: mean-only combat, which follows from alone; leave out 1 sample liver0" in text
    drug = np.array(["yes"] + ["no"] * 15 + ["yes"] * 8)
    report = design_report(Design(np.repeat(BATCH, 2), {"drug": drug}))
    assert report.warnings[0].startswith("drug differs mostly between batches: little can be kept")
    assert "all is kept by reference_ratio" in report.warnings[0]


def test_many_batches_of_many_samples_need_little_memory_and_time():
    n, n_batches = 60_000, 3_000
    rng = np.random.default_rng(6)
    design = Design(
        np.arange(n) % n_batches,
        {"drug": np.array(["no", "yes"])[rng.integers(0, 2, n)], "age": rng.normal(50, 9, n)},
    )
    tracemalloc.start()
    started = time.perf_counter()
    report = design_report(design)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.rank == report.columns == n_batches + 2
    # With a column for each batch it would be n * n_batches * 8 bytes: 1.4 GB.
    assert peak < 200e6
    assert time.perf_counter() - started < 20


def test_the_rank_is_that_of_the_whole_matrix():
    rng = np.random.default_rng(9)
    for _ in range(20):
        n_batches, n = rng.integers(2, 5), 18
        batch = np.array([f"b{i}" for i in rng.integers(0, n_batches, n)])
        drug, day = rng.integers(0, 3, n).astype(str), np.round(rng.normal(0, 1, n))
        nested = np.char.add(batch, rng.integers(0, 2, n).astype(str))
        design = Design(batch, {"drug": drug, "day": day, "nested": nested})
        report = design_report(design)
        columns = [batch == b for b in np.unique(batch)]
        columns += [drug == d for d in np.unique(drug)[1:]] + [day]
        columns += [nested == v for v in np.unique(nested)[1:]]
        assert report.columns == len(columns)
        assert report.rank == np.linalg.matrix_rank(np.stack(columns, axis=1).astype(float))


def test_the_command_line_tells_what_a_sample_table_lets_methods_do(tmp_path, capsys):
    table = tmp_path / "samples.csv"
    pd.DataFrame({"lab": BATCH, "arm": ARMS, "age": 50}, index=NAMES).to_csv(table)
    told = ["normalize", "--design", "--samples", str(table), "--batch", "lab"]
    assert main([*told, "--condition", "arm", "--covariates", "age"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "design: 12 samples in 3 batches of lab, rank 4 of 5 columns"
    assert "cannot be estimated: age: it has one value" in lines
    assert "offered: leave out 4 samples of C" in lines
    assert main(told) == 0
    assert "offered: combat to the mean of the batches" in capsys.readouterr().out.splitlines()
    assert main([*told, "--condition", "drug"]) == 2
    assert "no column 'drug' among the samples' columns" in capsys.readouterr().err
    assert main(told[:4]) == 2
    assert "--batch: is needed with --design" in capsys.readouterr().err
