"""What people bring to `levelseq normalize COUNTS`, and what they take away."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import levelseq
from levelseq.errors import BadDeposit, BadInput, BadOption
from levelseq.normalize import surrogate_variables, tmm
from levelseq.normalize.params import MethodParams
from levelseq.normalize.plain import PlainFiles, normalize_files
from levelseq.normalize.plain_design import table_report

from .drawn import draw_counts

COUNTS, TABLE = draw_counts()
GENES = [f"g{i}" for i in range(COUNTS.shape[1])]
FRAME = pd.DataFrame(COUNTS.T, index=pd.Index(GENES, name="gene_id"), columns=TABLE.index)


@pytest.fixture
def run(tmp_path):
    FRAME.to_csv(tmp_path / "counts.csv")
    TABLE.to_csv(tmp_path / "samples.csv", index_label="sample")

    def normalize(batch="", counts="counts.csv", samples="", places=None, **options):
        where = {"counts": counts, "samples": samples, "out": "out.csv"} | (places or {})
        files = {k: str(tmp_path / v) if v else "" for k, v in where.items()}
        normalize_files(PlainFiles(**files), MethodParams.checked(**options), batch)
        return tmp_path

    return normalize


def test_what_featurecounts_writes_is_read_and_its_lengths_serve(run, tmp_path):
    length = np.arange(len(GENES)) * 10 + 300
    table = FRAME.copy()
    table.insert(0, "Length", length)
    for column in ("Strand", "End", "Start", "Chr"):
        table.insert(0, column, "1;1")
    text = table.rename_axis("Geneid").to_csv(sep="\t")
    (tmp_path / "fc.txt").write_text("# Program:featureCounts v2.0.3; Command: ...\n" + text)
    out = pd.read_csv(run(counts="fc.txt", method="rpkm") / "out.csv", index_col=0)
    genes = pd.DataFrame({"length": length}, index=GENES)
    expected = levelseq.normalize_counts(FRAME.T, "rpkm", genes=genes).T
    pd.testing.assert_frame_equal(out, expected, check_names=False, rtol=1e-12)
    assert out.index.name == "Geneid"


def test_size_factors_are_written_as_the_methods_own_package_gives_them(run):
    folder = run(samples="samples.csv", method="tmm", places={"out_samples": "found.csv"})
    found = pd.read_csv(folder / "found.csv", index_col=0)
    assert list(found.index) == list(TABLE.index)
    assert list(found["lab"]) == list(TABLE["lab"])
    own = tmm.apply(COUNTS, tmm.fit(COUNTS))
    np.testing.assert_allclose(found["native_factor"], own, rtol=1e-12)
    assert np.log(found["size_factor"]).mean() == pytest.approx(0, abs=1e-12)


def test_surrogate_variables_are_written(run):
    places = {"out_samples": "found.csv"}
    folder = run(
        samples="samples.csv", method="svaseq", condition="condition", n_surrogates=2, places=places
    )
    found = pd.read_csv(folder / "found.csv", index_col=0)
    treated = (TABLE["condition"] == sorted(set(TABLE["condition"]))[1]).to_numpy(float)
    one = np.ones((len(TABLE), 1))
    state = surrogate_variables.fit(
        np.log(COUNTS + 1.0), np.column_stack([one, treated]), one, n_surrogates=2
    )
    own = surrogate_variables.surrogates(np.log(COUNTS + 1.0), state)
    for i in range(2):
        correlation = np.corrcoef(found[f"surrogate_{i + 1}"], own[:, i])[0, 1]
        assert abs(correlation) == pytest.approx(1, abs=1e-9)


def test_whole_counts_are_written_whole_under_the_name_of_their_column(run):
    folder = run("lab", samples="samples.csv", method="combat_seq", condition="condition")
    lines = (folder / "out.csv").read_text().splitlines()
    assert lines[0].startswith("gene_id,")
    assert "." not in lines[1]


def test_an_h5ad_says_how_it_was_made(run):
    folder = run("lab", samples="samples.csv", method="combat", places={"out": "out.h5ad"})
    made = ad.read_h5ad(folder / "out.h5ad").uns["levelseq"]
    assert made["method"] == "combat"
    assert made["version"]
    assert json.loads(made["params"])["method"] == "combat"


def test_another_fit_is_not_written_over(run):
    run(method="vst", trend_genes=0, places={"save_fit": "fit"})
    run(method="vst", trend_genes=0, places={"save_fit": "fit"})
    with pytest.raises(BadOption, match=r"--save-fit: .*fit holds another fit \(choose another"):
        run(method="log_cpm", places={"save_fit": "fit", "out": "other.csv"})
    assert not list(run(method="cpm").glob("other.csv"))


def test_counts_given_as_logs_are_told(run, capsys):
    run("lab", samples="samples.csv", method="combat", values="given")
    assert "whole numbers, as counts, and taken as logs" in capsys.readouterr().err


def test_more_samples_than_genes_are_told(run, tmp_path, capsys):
    FRAME.iloc[:10].to_csv(tmp_path / "few.csv")
    run(counts="few.csv", method="library")
    assert f"{FRAME.shape[1]} samples and 10 genes: rows are genes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prior_count": 9}, "--prior-count: is read by log_cpm values.*give --values log_cpm"),
        ({"trend": "local"}, "--trend: is read by vst values, and these are log1p_cpm"),
        ({"values": "given", "size_factors": "tmm"}, "--size-factors: values that are given"),
    ],
)
def test_options_without_effect_are_refused(run, options, said):
    with pytest.raises(BadOption, match=said):
        run("lab", samples="samples.csv", method="combat", **options)


def test_logs_in_place_of_counts_are_told_the_way_out(run, tmp_path):
    np.log1p(FRAME).to_csv(tmp_path / "log.csv")
    with pytest.raises(BadDeposit, match="round estimated ones; log values go with --values given"):
        run(counts="log.csv", method="vst")


def test_what_the_gene_table_lacks_is_said_with_its_name(run, tmp_path):
    pd.DataFrame({"gc": 0.5}, index=pd.Index(GENES, name="gene_id")).to_csv(tmp_path / "genes.csv")
    with pytest.raises(BadInput, match=r"genes.csv, column 'length' of the genes: is needed"):
        run(method="rpkm", places={"genes": "genes.csv"})


def test_a_sample_table_without_names_is_told_so(run, tmp_path):
    TABLE.to_csv(tmp_path / "nameless.csv", index=False)
    with pytest.raises(BadDeposit, match="its first column must hold the samples' names"):
        run("lab", samples="nameless.csv", method="combat")


def test_the_design_of_an_h5ad_is_told(tmp_path):
    ad.AnnData(X=COUNTS, obs=TABLE).write_h5ad(tmp_path / "c.h5ad")
    TABLE.to_csv(tmp_path / "samples.csv", index_label="sample")
    of_h5ad = table_report(str(tmp_path / "c.h5ad"), "lab", ["condition"])
    assert (
        of_h5ad.lines() == table_report(str(tmp_path / "samples.csv"), "lab", ["condition"]).lines()
    )
    assert of_h5ad.lines()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "vts"}, "'vts' is not a method .did you mean vst?"),
        ({"method": "combat", "cond": "x"}, "'cond' is not an option .did you mean condition?"),
        ({"method": "combat", "samples": TABLE}, "'samples' is not an option"),
    ],
)
def test_a_wrong_name_in_python_is_one_short_line(given, said):
    with pytest.raises(BadOption, match=said) as refused:
        levelseq.normalize_counts(FRAME.T, **given)
    assert len(str(refused.value)) < 400
