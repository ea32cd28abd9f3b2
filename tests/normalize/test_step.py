"""The normalize step: a cohort's folder in, a normalized folder out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.cohort import open_normalized
from levelseq.errors import BadInput, BadOption
from levelseq.normalize import combat, median_of_ratios, size_factors
from levelseq.normalize.chunks import in_memory
from levelseq.normalize.params import NormalizeParams
from levelseq.normalize.state import read_state
from levelseq.normalize.step import run

from .drawn import draw_counts

COUNTS, TABLE = draw_counts()
TREE = ["site", "lab"]


def dense(normalized):
    parts = [s.X.toarray() if sp.issparse(s.X) else s.X for s in normalized.shards()]
    return np.concatenate(parts)


def log_cpm(counts):
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e6)


def test_log1p_cpm_of_the_variable_genes(write_cohort, tmp_path):
    cohort = write_cohort(COUNTS, TABLE, TREE)
    params = NormalizeParams(n_variable_genes=30)
    address = run(params, cohort, str(tmp_path / "W"))
    assert Path(address).parent == tmp_path / "W" / "normalized"
    out = open_normalized(address)
    var, obs, state = out.var(), out.obs(), out.state()
    assert len(var) == 30
    assert var["variable"].all()
    assert set(var.index) == set(state["variable_genes"])
    here = [int(gene[1:]) for gene in var.index]
    np.testing.assert_allclose(dense(out), log_cpm(COUNTS)[:, here], rtol=1e-6)
    assert all(sp.issparse(shard.X) and shard.X.dtype == np.float32 for shard in out.shards())
    library = COUNTS.sum(axis=1)
    np.testing.assert_allclose(obs["size_factor"], library / np.exp(np.log(library).mean()))
    assert list(obs.index) == list(TABLE.index)
    assert set(TABLE.columns) < set(obs.columns)
    expected = {
        "schema": "levelseq.normalized/1",
        "cohort": cohort,
        "method": "log1p_cpm",
        "model": None,
        "reference_batch": None,
        "genes": "variable",
        "unit": "log1p CPM",
    }
    assert expected.items() <= out.manifest.items()
    assert [s["n_obs"] for s in out.manifest["shards"]] == [25, 25, 10]


@pytest.mark.parametrize("method", ["median_of_ratios", "tmm"])
def test_size_factors_are_those_of_the_whole_matrix(write_cohort, tmp_path, method):
    cohort = write_cohort(COUNTS, TABLE, TREE)
    params = NormalizeParams(method=method, output_genes="all", n_variable_genes=10)
    out = open_normalized(run(params, cohort, str(tmp_path / "W")))
    fit = size_factors.fit(method, in_memory(COUNTS))
    np.testing.assert_allclose(out.obs()["size_factor"], fit.size_factor_S, rtol=1e-12)
    library = np.exp(np.log(COUNTS.sum(axis=1)).mean())
    cpm = 1e6 * COUNTS / (fit.size_factor_S[:, None] * library)
    np.testing.assert_allclose(dense(out), np.log1p(cpm), rtol=1e-6)
    assert out.var()["variable"].sum() == 10


@pytest.mark.parametrize("reference", ["", "lab1"])
def test_streamed_combat_is_combat_of_the_whole(write_cohort, tmp_path, reference):
    cohort = write_cohort(COUNTS, TABLE, TREE, condition="condition")
    params = NormalizeParams(method="combat", output_genes="all", reference_batch=reference)
    out = open_normalized(run(params, cohort, str(tmp_path / "W")))
    design = combat.Design(TABLE["lab"].to_numpy(), {"condition": TABLE["condition"].to_numpy()})
    state = combat.fit(log_cpm(COUNTS), design, reference_batch=reference)
    np.testing.assert_allclose(
        dense(out), combat.apply(log_cpm(COUNTS), design, state), rtol=2e-6, atol=1e-6
    )
    assert out.manifest["reference_batch"] == (reference or None)
    assert out.var()["adjusted"].all()


def test_the_frozen_state_can_be_read_and_applied_to_new_samples(write_cohort, tmp_path):
    cohort = write_cohort(COUNTS, TABLE, TREE, condition="condition")
    folder = run(NormalizeParams(method="combat", output_genes="all"), cohort, str(tmp_path / "W"))
    state = read_state(folder)
    assert state.genes == state.output_genes == [f"g{i}" for i in range(80)]
    design = combat.Design(["lab2"] * 3, {"condition": ["control"] * 3})
    rows = np.flatnonzero((TABLE["lab"] == "lab2") & (TABLE["condition"] == "control"))[:3]
    np.testing.assert_allclose(
        combat.apply(log_cpm(COUNTS)[rows], design, state.levelling),
        dense(open_normalized(folder))[rows],
        rtol=2e-6,
        atol=1e-6,
    )
    again = size_factors.apply(in_memory(COUNTS), state.size_factors)
    np.testing.assert_allclose(open_normalized(folder).obs()["size_factor"], again)
    for method in ("tmm", "median_of_ratios"):
        folder = run(NormalizeParams(method=method), cohort, str(tmp_path / "W"))
        again = size_factors.apply(in_memory(COUNTS), read_state(folder).size_factors)
        np.testing.assert_allclose(open_normalized(folder).obs()["size_factor"], again)


def test_genes_absent_from_a_deposit_count_for_nothing_but_output(write_cohort, tmp_path):
    in_all = np.arange(80) >= 20
    cohort = write_cohort(COUNTS, TABLE, TREE, in_all=in_all)
    params = NormalizeParams(method="median_of_ratios", output_genes="all")
    out = open_normalized(run(params, cohort, str(tmp_path / "W")))
    shared = COUNTS[:, in_all]
    factors = median_of_ratios.apply(shared, median_of_ratios.fit(shared))
    np.testing.assert_allclose(
        out.obs()["size_factor"], factors / np.exp(np.log(factors).mean()), rtol=1e-12
    )
    assert out.state()["genes"] == [f"g{i}" for i in range(20, 80)]
    assert not out.var()["variable"].iloc[:20].any()
    assert len(out.var()) == 80


def test_a_second_run_changes_nothing_and_another_workspace_gets_the_same_bytes(
    write_cohort, tmp_path
):
    cohort = write_cohort(COUNTS, TABLE, TREE)
    params = NormalizeParams(method="combat", n_variable_genes=20)
    first = Path(run(params, cohort, str(tmp_path / "W")))
    written = {p: p.stat().st_mtime_ns for p in first.rglob("*") if p.is_file()}
    assert run(params, cohort, str(tmp_path / "W")) == str(first)
    assert {p: p.stat().st_mtime_ns for p in first.rglob("*") if p.is_file()} == written
    other = Path(run(params, cohort, str(tmp_path / "W2")))
    assert other.name == first.name
    for path in written:
        assert (other / path.relative_to(first)).read_bytes() == path.read_bytes()


def test_a_killed_run_is_finished_by_the_next(write_cohort, tmp_path):
    cohort = write_cohort(COUNTS, TABLE, TREE)
    params = NormalizeParams(n_variable_genes=20)
    folder = Path(run(params, cohort, str(tmp_path / "W")))
    manifest = (folder / "normalized.json").read_bytes()
    # A shard's entry is put after its last object.
    for later in ("normalized.json", "shards/00001.json"):
        (folder / later).unlink()
    next((folder / "shards" / "00001.zarr").rglob("c/*")).write_bytes(b"half")
    run(params, cohort, str(tmp_path / "W"))
    assert (folder / "normalized.json").read_bytes() == manifest
    assert np.isfinite(dense(open_normalized(str(folder)))).all()


def test_a_file_chooses_the_genes_and_its_content_the_key(write_cohort, tmp_path):
    cohort = write_cohort(COUNTS, TABLE, TREE)
    listed = tmp_path / "genes.txt"
    listed.write_text("g7\ng3\n\ng7\n")
    params = NormalizeParams(output_genes=str(listed), n_variable_genes=5)
    first = run(params, cohort, str(tmp_path / "W"))
    assert list(open_normalized(first).var().index) == ["g3", "g7"]
    listed.write_text("g7\n")
    assert run(params, cohort, str(tmp_path / "W")) != first
    listed.write_text("g7\nTP53\nx1\nx2\nx3\n")
    with pytest.raises(
        BadOption, match=r"4 of 5 genes are not in the cohort, such as TP53, x1, x2"
    ):
        run(params, cohort, str(tmp_path / "W"))
    listed.write_text("\n")
    with pytest.raises(BadOption, match="names no gene"):
        run(params, cohort, str(tmp_path / "W"))


@pytest.mark.parametrize(
    ("method", "said"),
    [("median_of_ratios", "every gene has a zero"), ("tmm", "[78].% of the counts are zero")],
)
def test_single_cells_are_told_the_way_out(write_cohort, tmp_path, method, said):
    sparse, table = draw_counts(mean=-2.0)
    cohort = write_cohort(np.maximum(sparse, np.eye(60, 80, dtype=int)), table, TREE)
    with pytest.raises(BadInput, match=rf"{said}.*log1p_cpm"):
        run(NormalizeParams(method=method), cohort, str(tmp_path / "W"))
    assert not (tmp_path / "W" / "normalized").exists()


def test_size_factors_that_rest_on_few_genes_are_told(write_cohort, tmp_path, capsys):
    sparse, table = draw_counts(mean=1.0)
    sparse[:, :3] += 1
    few = int((sparse > 0).all(axis=0).sum())
    cohort = write_cohort(sparse, table, TREE)
    run(NormalizeParams(method="median_of_ratios"), cohort, str(tmp_path / "W"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [x["genes"] for x in lines if x["level"] == "notice"] == [few]


def test_cells_without_counts_get_size_factor_one_and_a_notice(write_cohort, tmp_path, capsys):
    counts = COUNTS.copy()
    counts[[3, 40]] = 0
    cohort = write_cohort(counts, TABLE, TREE)
    out = open_normalized(run(NormalizeParams(), cohort, str(tmp_path / "W")))
    assert list(out.obs()["size_factor"].iloc[[3, 40]]) == [1, 1]
    assert np.isfinite(dense(out)).all()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [x for x in lines if x["level"] == "notice"]
    assert [x["message"] for x in told if "2 samples have no counts" in x["message"]]
    assert "s003" not in json.dumps(lines)
    with pytest.raises(BadInput, match="sample 4: has no counts"):
        run(NormalizeParams(method="median_of_ratios"), cohort, str(tmp_path / "W"))


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"condition": TABLE["lab"]}, {"condition": "condition"}, "'condition': is confounded"),
        ({"lab": "lab0", "site": "site0"}, {}, "has one batch, .*two are needed"),
        ({}, {"reference_batch": "lab9"}, "'lab9' names no batches .*lab0, lab1, lab2"),
        ({}, {"condition": "drug"}, "--condition: no column 'drug' .*site, lab, condition"),
        (
            {"condition": [None, *TABLE["condition"][1:]]},
            {"condition": "condition"},
            "'condition': has no value for 1 of 60",
        ),
        ({}, {"method": "log1p_cpm", "interval": True}, "--interval: an interval needs a model"),
        (
            {},
            {"method": "log1p_cpm", "reference_counts": True},
            "--reference-counts: counts on .* need a model",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_readable(
    write_cohort, tmp_path, change, options, said
):
    cohort = write_cohort(COUNTS, TABLE.assign(**change), TREE)
    params = NormalizeParams(**{"method": "combat"} | options)
    with pytest.raises(BadInput, match=said) as refused:
        run(params, cohort, str(tmp_path / "W"))
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "W").rglob("normalized.json"))


def test_no_common_gene_is_refused(write_cohort, tmp_path):
    cohort = write_cohort(COUNTS, TABLE, TREE, in_all=np.zeros(80, bool))
    with pytest.raises(BadInput, match=r"no gene is in all deposits .*--genes"):
        run(NormalizeParams(), cohort, str(tmp_path / "W"))


def test_a_cohort_without_batches_has_values(write_cohort, tmp_path):
    table = pd.DataFrame({"site": "one"}, index=TABLE.index)
    cohort = write_cohort(COUNTS, table, ["site"])
    out = open_normalized(run(NormalizeParams(n_variable_genes=9), cohort, str(tmp_path / "W")))
    assert dense(out).shape == (60, 9)


def test_an_unknown_method_is_one_line():
    with pytest.raises(BadOption, match=r"--method: .*'magic'"):
        NormalizeParams.checked(method="magic")


def test_levelled_counts_stay_whole_however_large(write_cohort, tmp_path):
    cohort = write_cohort(COUNTS, TABLE, TREE, condition="condition")
    params = NormalizeParams(method="combat_seq", output_genes="all")
    shards = list(open_normalized(run(params, cohort, str(tmp_path / "W"))).shards())
    assert {shard.X.dtype for shard in shards} == {np.dtype(np.float64)}
    assert all((np.round(shard.X) == shard.X).all() for shard in shards)


@pytest.mark.parametrize("option", [{"method": "tmm"}, {"output_genes": "all"}, {"condition": "c"}])
def test_choices_beside_a_fit_are_refused(write_cohort, tmp_path, option):
    cohort = write_cohort(COUNTS, TABLE, TREE)
    earlier = run(NormalizeParams(n_variable_genes=20), cohort, str(tmp_path / "W"))
    named = next(iter(option)).replace("_", "-")
    with pytest.raises(BadOption, match=f"--{named}: the fit has its own"):
        run(NormalizeParams(**option), cohort, str(tmp_path / "W"), fit=earlier)


def test_the_manifest_tells_the_genes_of_the_fit(write_cohort, tmp_path):
    cohort, w = write_cohort(COUNTS, TABLE, TREE), str(tmp_path / "W")
    (tmp_path / "genes.txt").write_text("g7\ng3\n")
    for genes, told in (
        ("all", "all"),
        ("variable", "variable"),
        (str(tmp_path / "genes.txt"), "those of the fit"),
    ):
        earlier = run(NormalizeParams(output_genes=genes, n_variable_genes=20), cohort, w)
        out = open_normalized(run(NormalizeParams(), cohort, w, fit=earlier))
        assert out.manifest["genes"] == told
        assert list(out.var().index) == list(open_normalized(earlier).var().index)
