"""Plain files: a table of counts and one of samples in, a table or .h5ad out."""

from __future__ import annotations

import shutil
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import levelseq
from levelseq.errors import BadAddress, BadDeposit, BadInput, BadOption
from levelseq.normalize.params import MethodParams
from levelseq.normalize.plain import PlainFiles, normalize_files
from levelseq.store import read_bytes

from .drawn import draw_counts

COUNTS, TABLE = draw_counts()
GENES = [f"g{i}" for i in range(COUNTS.shape[1])]
FRAME = pd.DataFrame(COUNTS.T, index=GENES, columns=TABLE.index)


@pytest.fixture
def files(tmp_path):
    FRAME.to_csv(tmp_path / "counts.csv")
    TABLE.sample(frac=1, random_state=1).to_csv(tmp_path / "samples.csv", index_label="sample")
    return tmp_path


WITHOUT_BATCHES = {"method": "log1p_cpm", "batch": "", "condition": ""}


def normalize(folder, counts="counts.csv", samples="samples.csv", out="out.csv", **options):
    options = {"method": "combat", "batch": "lab", "condition": "condition"} | options
    batch = options.pop("batch")
    where = str(folder / samples) if samples else ""
    files = PlainFiles(str(folder / counts), where, out=str(folder / out))
    return normalize_files(files, MethodParams.checked(**options), batch)


def expected():
    frame = pd.DataFrame(COUNTS, index=TABLE.index, columns=GENES)
    return levelseq.normalize_counts(frame, batch=TABLE["lab"], condition=TABLE["condition"]).T


def test_a_table_comes_back_in_its_own_orientation(files):
    address = normalize(files)
    out = pd.read_csv(address, index_col=0)
    pd.testing.assert_frame_equal(out, expected(), check_names=False, rtol=1e-12)


@pytest.mark.parametrize("name", ["counts.tsv", "counts.csv.gz", "counts.txt.gz"])
def test_tab_and_gzip_are_read_and_written(files, name):
    FRAME.to_csv(files / name, sep="," if ".csv" in name else "\t")
    out = name.replace("counts", "out")
    normalize(files, counts=name, out=out)
    written = pd.read_csv(files / out, index_col=0, sep="," if ".csv" in name else "\t")
    pd.testing.assert_frame_equal(written, expected(), check_names=False, rtol=1e-12)
    first = (files / out).read_bytes()
    normalize(files, counts=name, out=out)
    assert (files / out).read_bytes() == first


def test_rs_header_one_field_short_is_understood(files):
    text = FRAME.to_csv().removeprefix(",")
    (files / "r.csv").write_text(text)
    normalize(files, counts="r.csv")
    out = pd.read_csv(files / "out.csv", index_col=0)
    pd.testing.assert_frame_equal(out, expected(), check_names=False, rtol=1e-12)


def test_h5ad_in_and_out(files):
    ad.AnnData(X=COUNTS, obs=TABLE, var=pd.DataFrame(index=GENES)).write_h5ad(files / "c.h5ad")
    normalize(files, counts="c.h5ad", samples="", out="o.h5ad")
    out = ad.read_h5ad(files / "o.h5ad")
    np.testing.assert_allclose(out.X, expected().T, rtol=1e-12)
    assert "size_factor" in out.obs
    normalize(files, counts="c.h5ad", out="from_h5ad.csv")
    table = pd.read_csv(files / "from_h5ad.csv", index_col=0)
    pd.testing.assert_frame_equal(table, expected(), check_names=False, rtol=1e-12)


def test_addresses_of_an_object_store_work(files):
    out = "memory://plain/out.csv"
    where = PlainFiles(str(files / "counts.csv"), str(files / "samples.csv"), out=out)
    normalize_files(where, MethodParams(method="log1p_cpm"))
    assert read_bytes(out).startswith(b"gene,s000,s001")


def test_the_reference_batch_stays_and_what_is_left_is_told(files, capsys):
    frame = FRAME.copy()
    frame.loc["g5", TABLE["lab"] == "lab1"] = 0
    frame.to_csv(files / "counts.csv")
    before = pd.read_csv(normalize(files, **WITHOUT_BATCHES), index_col=0)
    after = pd.read_csv(normalize(files, reference_batch="lab2"), index_col=0)
    stays = (TABLE["lab"] == "lab2").to_numpy()
    np.testing.assert_array_equal(after.loc[:, stays], before.loc[:, stays])
    assert (after.loc[:, ~stays] != before.loc[:, ~stays]).any(axis=None)
    assert "1 of 80 genes are uniform within a batch" in capsys.readouterr().err


def test_samples_missing_in_the_table_are_named_up_to_three(files):
    TABLE.iloc[5:].to_csv(files / "samples.csv")
    with pytest.raises(BadDeposit, match="lacks 5 of the 60 samples, such as s000, s001, s002 "):
        normalize(files)
    assert not (files / "out.csv").exists()


def test_confounded_files_are_refused_and_nothing_is_written(files):
    TABLE.assign(condition=TABLE["lab"]).to_csv(files / "samples.csv")
    with pytest.raises(BadInput, match="column 'condition': is confounded with lab"):
        normalize(files)
    assert not (files / "out.csv").exists()


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"batch": "run"}, BadOption, r"--batch: no column 'run' .*site, lab, condition"),
        ({"condition": "drug"}, BadOption, "--condition: no column 'drug'"),
        ({"batch": ""}, BadOption, "--batch: combat needs"),
        ({"method": "magic"}, BadOption, "--method: input should be 'median_of_ratios', 'pos"),
        ({"out": "out.xlsx"}, BadOption, "--out: .* no ending that is known"),
        ({"samples": ""}, BadOption, "--samples: a table of counts needs a sample table"),
        ({"counts": "gone.csv"}, BadAddress, "gone.csv: there is nothing"),
        ({"samples": "gone.csv"}, BadAddress, "gone.csv: there is nothing"),
        ({"out": "counts.csv/below.csv"}, BadAddress, "through a file where a folder should be"),
    ],
)
def test_wrong_options_are_one_line(files, options, kind, said):
    with pytest.raises(kind, match=said) as refused:
        normalize(files, **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"gene,s1,s2\ng1,1,x\n", "sample s2: holds text where counts"),
        ("b.csv", b"gene,s1,s2\ng1,1,2\ng1,3,4\n", "gene 'g1' is there twice"),
        ("c.csv", b"", "c.csv: is empty"),
        ("h.csv", b"only,two\ng1,1,2,3\n", "names 2 columns in its first line and has 4"),
        ("d.csv.gz", b"\x1f\x8b\x08\x00broken", "is cut short or is not gzip"),
        ("e.h5ad", b"not hdf5", "is not an .h5ad file"),
        ("f.csv", b"gene\ts1\ng1\t1\n", "no columns or rows.*separator"),
        ("g.csv", b"\xff\xfe\x00g", "is not a table"),
    ],
)
def test_files_that_are_not_counts_are_one_line(files, name, content, said):
    (files / name).write_bytes(content)
    with pytest.raises(BadDeposit, match=said) as refused:
        normalize(files, counts=name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1.5", "1.5 is not a whole number"),
        ("-4", "-4 is negative"),
        ("", "a count is missing"),
        ("4294967296", "too large for a count"),
    ],
)
def test_values_that_are_not_counts_are_refused(files, row, said):
    frame = FRAME.astype(object)
    frame.iloc[3, 1] = row
    frame.to_csv(files / "bad.csv")
    with pytest.raises(BadDeposit, match=f"bad.csv: .*{said}.*, at sample s001, gene g3 "):
        normalize(files, counts="bad.csv")


@pytest.mark.parametrize("matrix", [sp.csr_matrix, sp.csc_matrix, np.asarray])
def test_a_bad_value_of_an_h5ad_is_named_with_sample_and_gene(files, matrix):
    bad = COUNTS.astype(float)
    bad[2, 7] = 0.5
    var = pd.DataFrame(index=GENES)
    ad.AnnData(X=matrix(bad), obs=TABLE, var=var).write_h5ad(files / "bad.h5ad")
    with pytest.raises(BadDeposit, match=r"bad.h5ad: 0.5 .* at sample s002, gene g7 "):
        normalize(files, counts="bad.h5ad", samples="")


@pytest.mark.parametrize("method", ["tmm", "log1p_cpm", "median_of_ratios"])
@pytest.mark.parametrize("option", ["batch", "condition", "reference_batch"])
def test_what_only_combat_uses_is_refused_beside_other_methods(files, method, option):
    options = WITHOUT_BATCHES | {"method": method, option: "lab"}
    named = f"--{option.replace('_', '-')}: {method} does not use it .it is for .*combat"
    with pytest.raises(BadOption, match=named):
        normalize(files, **options)
    assert not (files / "out.csv").exists()


def test_only_combat_needs_a_sample_table(files):
    without = (files / normalize(files, samples="", **WITHOUT_BATCHES)).read_bytes()
    assert (files / normalize(files, **WITHOUT_BATCHES)).read_bytes() == without
    assert len(without.splitlines()) == len(GENES) + 1


@pytest.mark.parametrize(
    ("out", "said"),
    [("counts.csv", "--out: is the counts file"), ("samples.csv", "--out: is the sample table")],
)
def test_no_input_is_overwritten(files, out, said):
    before = (files / out).read_bytes()
    (files / "link.csv").symlink_to(files / out)
    for name in (out, f"../{files.name}/{out}", "link.csv"):
        with pytest.raises(BadOption, match=f"{said} .choose another name."):
            normalize(files, out=name)
    where = [str(files / name) for name in ("counts.csv", "samples.csv")]
    with pytest.raises(BadOption, match=said):
        normalize_files(
            PlainFiles(*where, out=f"file://{files / out}"), MethodParams(method="combat"), "lab"
        )
    assert (files / out).read_bytes() == before


def test_a_name_twice_in_the_first_line_is_the_fault_of_its_own_file(files):
    twice = FRAME.rename(columns={"s007": "s002"})
    twice.to_csv(files / "twice.csv")
    (files / "short.csv").write_text(twice.to_csv().removeprefix(","))
    for name in ("twice.csv", "short.csv"):
        with pytest.raises(BadDeposit, match=f"{name}: sample 's002' is there twice .give each"):
            normalize(files, counts=name)
    TABLE.rename(columns={"condition": "lab"}).to_csv(files / "samples.csv")
    with pytest.raises(BadDeposit, match=r"samples.csv: column 'lab' is there twice"):
        normalize(files, condition="")


def test_missing_batches_name_the_sample_table_and_three_samples(files):
    TABLE.assign(lab=[None] * 4 + list(TABLE["lab"][4:])).to_csv(files / "samples.csv")
    said = "samples.csv, column 'lab': has no value for 4 of 60 samples, such as s000, s001, s002 "
    with pytest.raises(BadInput, match=said):
        normalize(files)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lab": "one"}, r"samples.csv, column 'lab': has one batch, 'one', .* \("),
        ({"condition": TABLE["lab"]}, r"samples.csv, column 'condition': is confounded .* \("),
    ],
)
def test_what_the_method_refuses_is_said_with_the_file_and_a_way_out(files, change, said):
    TABLE.assign(**change).to_csv(files / "samples.csv")
    with pytest.raises(BadInput, match=said):
        normalize(files)


def test_counts_that_the_method_refuses_are_said_with_their_file(files):
    (FRAME * 0).to_csv(files / "zero.csv")
    with pytest.raises(BadInput, match=r"zero.csv: no sample has counts \(give raw counts\)"):
        normalize(files, counts="zero.csv")


def brought(folder, fit, batch="", **where):
    where = {"counts": "counts.csv", "out": "later.csv"} | where
    files = PlainFiles(**{k: str(folder / v) for k, v in where.items()}, fitted=str(folder / fit))
    return pd.read_csv(normalize_files(files, MethodParams(), batch), index_col=0)


def fitted(folder, method, counts="counts.csv", **options):
    shutil.rmtree(folder / "fit", ignore_errors=True)
    batch = options.pop("batch", "lab")
    options = {"method": method, "condition": "condition"} | options
    places = {"counts": counts, "samples": "samples.csv", "out": "out.csv", "save_fit": "fit"}
    files = PlainFiles(**{k: str(folder / v) for k, v in places.items()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        address = normalize_files(files, MethodParams.checked(**options), batch)
    return pd.read_csv(address, index_col=0)


@pytest.mark.parametrize("method", ["combat", "combat_seq", "remove_batch_effect"])
def test_a_fit_brings_genes_in_another_order_to_its_scale(files, method):
    values = fitted(files, method)
    order = np.random.default_rng(0).permutation(len(GENES))
    FRAME.iloc[order, 4:9].to_csv(files / "new.csv")
    later = brought(files, "fit", "lab", counts="new.csv", samples="samples.csv")
    pd.testing.assert_frame_equal(later, values.iloc[:, 4:9], rtol=1e-12, atol=1e-12)


def test_a_new_batch_is_kept_by_save_fit_beside_fitted(files):
    known = FRAME.loc[:, TABLE["lab"] != "lab2"]
    new = FRAME.loc[:, TABLE["lab"] == "lab2"]
    known.to_csv(files / "known.csv")
    new.iloc[:, :8].to_csv(files / "visit1.csv")
    new.to_csv(files / "visit2.csv")
    fitted(files, "combat", counts="known.csv")
    both = {"samples": "samples.csv", "save_fit": "fit2"}
    first = brought(files, "fit", "lab", counts="visit1.csv", **both)
    second = brought(files, "fit2", "lab", counts="visit2.csv", samples="samples.csv")
    pd.testing.assert_frame_equal(second.iloc[:, :8], first, rtol=1e-12)


def test_columns_that_a_fit_does_not_read_are_not_asked_of_new_samples(files):
    values = fitted(files, "svaseq", batch="", n_surrogates=1)
    FRAME.iloc[:, :3].to_csv(files / "new.csv")
    later = brought(files, "fit", counts="new.csv")
    pd.testing.assert_frame_equal(later, values.iloc[:, :3], rtol=1e-9)
    values = fitted(files, "remove_batch_effect")
    TABLE.drop(columns="condition").to_csv(files / "unknown_arm.csv")
    later = brought(files, "fit", "lab", counts="new.csv", samples="unknown_arm.csv")
    pd.testing.assert_frame_equal(later, values.iloc[:, :3], rtol=1e-9)


@pytest.mark.parametrize(
    ("method", "change", "batch", "said"),
    [
        ("combat", {"condition": None}, "lab", "column 'condition': has no value for 3 of 3"),
        ("combat", {"lab": None}, "lab", "column 'lab': has no value for 3 of 3 .* such as s000"),
        ("combat", {}, "", "--batch: combat needs"),
        ("tmm", {}, "lab", "--batch: tmm does not use it .leave it out"),
    ],
)
def test_what_a_fit_reads_is_asked_of_new_samples(files, method, change, batch, said):
    own = {} if method == "combat" else {"batch": "", "condition": ""}
    fitted(files, method, **own)
    TABLE.assign(**change).to_csv(files / "new_samples.csv")
    FRAME.iloc[:, :3].to_csv(files / "new.csv")
    with pytest.raises(BadInput, match=said):
        brought(files, "fit", batch, counts="new.csv", samples="new_samples.csv")
    assert not (files / "later.csv").exists()


def test_a_choice_beside_a_fit_is_refused(files):
    fitted(files, "combat")
    where = PlainFiles(str(files / "counts.csv"), out="later.csv", fitted=str(files / "fit"))
    with pytest.raises(BadOption, match=r"--method: the fit has its own \(leave it out"):
        normalize_files(where, MethodParams(method="tmm"))


def test_no_fit_is_kept_where_the_values_cannot_be_written(files):
    data = ad.AnnData(X=COUNTS, obs=TABLE, var=pd.DataFrame(index=GENES))
    data.write_h5ad(files / "c.h5ad")
    where = PlainFiles(
        str(files / "c.h5ad"), out=str(files / "o.h5ad"), save_fit=str(files / "fit")
    )
    with pytest.MonkeyPatch.context() as patch:

        def broken(self, path):
            raise TypeError("no such kind of column")

        patch.setattr(ad.AnnData, "write_h5ad", broken)
        with pytest.raises(BadInput, match=r"--out: cannot be written as \.h5ad"):
            normalize_files(where, MethodParams(method="tmm"))
    assert not (files / "o.h5ad").exists()
    assert not (files / "fit").exists()
