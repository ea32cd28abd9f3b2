"""Every method, the same in memory, from a cohort of shards, and for later samples."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import levelseq
from levelseq.cohort import (
    BatchTree,
    manifest_json,
    open_cohort,
    open_normalized,
    write_shard,
)
from levelseq.errors import BadInput, BadOption
from levelseq.normalize import stream
from levelseq.normalize.counts import apply_fit, extend_fit, fit_counts
from levelseq.normalize.methods import CATALOGUE
from levelseq.normalize.params import NormalizeParams
from levelseq.normalize.state import read_state
from levelseq.normalize.step import run
from levelseq.store import open_store

FOLDER = Path(__file__).parents[1] / "golden" / "r"
COUNTS = pd.read_csv(FOLDER / "counts.csv", index_col=0).T
TABLE = pd.read_csv(FOLDER / "samples.csv", index_col=0)
TABLE["material"] = np.where(np.arange(len(TABLE)) % 3 == 0, "yes", "no")
GENES = pd.read_csv(FOLDER / "genes.csv", index_col=0)
DATA = ad.AnnData(COUNTS.to_numpy(dtype=np.float64), obs=TABLE, var=GENES)
OPTIONS = {
    "vst": {"trend_genes": 0},
    "svaseq": {"n_surrogates": 2},
    "reference_ratio": {"reference_samples": "material==yes"},
    "within_lane": {"between": "upper"},
}


def fit(data, method, **more):
    about = CATALOGUE[method]
    columns = {"batch": "site>batch" if method == "combat_tree" else "batch"}
    if "condition" in about.uses and method != "voom":
        columns["condition"] = "condition"
    if method == "voom":
        columns["batch"] = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit_counts(data, method, **columns, **OPTIONS.get(method, {}), **more)


def dense(x):
    return x.toarray() if sp.issparse(x) else np.asarray(x)


@pytest.mark.parametrize("method", CATALOGUE)
def test_a_saved_fit_brings_later_samples_to_its_scale(method):
    values, state = fit(DATA, method)
    assert np.isfinite(dense(values.X)).all()
    assert dense(values.X).std() > 0
    np.testing.assert_array_equal(values.layers["counts"], DATA.X)
    store = open_store(f"memory://fits/{method}")
    for name, content in state.files().items():
        store.put(name, content)
    again = read_state(f"memory://fits/{method}")
    assert again.files() == state.files()
    later = apply_fit(DATA[[4, 9, 16]].copy(), again)
    # DESeq2 finds its answer for all samples together, so one alone differs by a thousandth.
    near = 5e-3 if method == "iterate" else 1e-9
    expected = dense(values.X)[[4, 9, 16]]
    np.testing.assert_allclose(dense(later.X), expected, rtol=near, atol=near)
    # Whatever the order of the genes, each keeps its own values, and all that lies beside them.
    order = np.random.default_rng(3).permutation(DATA.n_vars)
    later = apply_fit(DATA[[4, 9, 16], order].copy(), again)
    assert list(later.var_names) == list(DATA.var_names)
    np.testing.assert_allclose(dense(later.X), expected, rtol=near, atol=near)
    np.testing.assert_array_equal(later.var["gc"], DATA.var["gc"])
    assert set(later.layers) == set(values.layers)
    for name, layer in values.layers.items():
        np.testing.assert_allclose(
            dense(later.layers[name]), dense(layer)[[4, 9, 16]], rtol=near, atol=near
        )


@pytest.fixture
def cohort_of(write_cohort):
    """A cohort of the counts, with the genes' features beside them where they are asked for."""

    def write(tree, features=False, **more):
        usual = {"genes": list(GENES.index), "condition": "condition", "shard": 7}
        address = write_cohort(DATA.X, TABLE, tree, **usual | more)
        if not features:
            return address
        manifest = open_cohort(address).manifest
        store = open_store(address)
        for entry, shard in zip(manifest["shards"], open_cohort(address).shards()):
            for name in ("gc", "length"):
                shard.var[name] = GENES[name].to_numpy()
            entry |= write_shard(store, entry["path"], shard)
        store.put("cohort.json", manifest_json(manifest))
        return address

    return write


def values_of(address):
    out = open_normalized(address)
    return np.vstack([dense(shard.X) for shard in out.shards()]), out


@pytest.mark.parametrize("method", CATALOGUE)
def test_a_cohort_of_shards_gets_what_a_table_gets(method, cohort_of, tmp_path):
    tree = ["site", "batch"] if method == "combat_tree" else ["batch"]
    cohort = cohort_of(tree, features=True)
    params = NormalizeParams(method=method, output_genes="all", **OPTIONS.get(method, {}))
    found, out = values_of(run(params, cohort, str(tmp_path / "W")))
    data = DATA.copy()
    if method == "voom":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = levelseq.normalize_counts(data, "voom", "batch", "condition")
        weights = np.vstack([shard.layers["weights"] for shard in out.shards()])
        np.testing.assert_allclose(weights, expected.layers["weights"], rtol=1e-5)
    else:
        expected = fit(data, method)[0]
    np.testing.assert_allclose(found, dense(expected.X), rtol=2e-6, atol=2e-6)
    assert out.manifest["method"] == method
    assert out.manifest["unit"]


@pytest.mark.parametrize("method", ["rpkm", "tpm", "within_lane"])
def test_a_cohort_without_the_genes_features_is_refused(method, cohort_of, tmp_path):
    with pytest.raises(BadInput, match=r"needed and is not there \(give --genes"):
        run(NormalizeParams(method=method), cohort_of(["batch"]), str(tmp_path / "W"))


FEW = [f"g{i:03d}" for i in (9, 11, 60, 61, 140)]
BY_ROWS = ("rpkm", "tpm", "pearson_residuals", "within_lane", "between_lane", "quantile", "voom")


@pytest.mark.parametrize("method", [*BY_ROWS, "combat_seq"])
def test_some_genes_of_a_later_cohort_in_another_order_get_their_own_values(
    method, cohort_of, write_cohort, tmp_path
):
    w, listed = str(tmp_path / "W"), tmp_path / "few.txt"
    listed.write_text("\n".join(FEW))
    options = {"method": method} | OPTIONS.get(method, {})
    if method == "voom":
        options["condition"] = ""
    tree = [] if method == "voom" else ["batch"]
    condition = None if method == "voom" else "condition"
    first = cohort_of(tree, features=True, condition=condition)
    whole, _ = values_of(run(NormalizeParams(output_genes="all", **options), first, w))
    few = run(NormalizeParams(output_genes=str(listed), n_variable_genes=9, **options), first, w)
    here = GENES.index.get_indexer(FEW)
    np.testing.assert_array_equal(values_of(few)[0], whole[:, here])
    order = np.random.default_rng(4).permutation(len(GENES))
    later = write_cohort(
        DATA.X[:, order], TABLE, tree, genes=list(GENES.index[order]), condition=condition
    )
    values, out = values_of(run(NormalizeParams(), later, w, fit=few))
    assert list(out.var().index) == FEW
    np.testing.assert_allclose(values, whole[:, here], rtol=1e-6, atol=1e-6)
    beside = [shard.layers for shard in out.shards()]
    for name in beside[0]:
        expected = np.vstack([s.layers[name] for s in open_normalized(few).shards()])
        np.testing.assert_allclose(np.vstack([b[name] for b in beside]), expected, rtol=1e-6)


LEVELLED = ("combat", "combat_tree", "remove_batch_effect", "reference_ratio", "svaseq")


@pytest.mark.parametrize("method", [*BY_ROWS, "combat_seq", *LEVELLED])
def test_genes_that_a_deposit_lacks_are_no_data(method, cohort_of, tmp_path):
    w = str(tmp_path / "W")
    cohort = cohort_of(["site", "batch"], features=True, in_all=np.arange(len(GENES)) != 5)
    options = {"method": method} | OPTIONS.get(method, {})
    said = f"1 genes are not in all deposits, such as g005, and {method} needs"
    with pytest.raises(BadOption, match=said):
        run(NormalizeParams(output_genes="all", **options), cohort, w)
    measured = [gene for gene in GENES.index if gene != "g005"]
    (tmp_path / "measured.txt").write_text("\n".join(measured))
    listed = NormalizeParams(output_genes=str(tmp_path / "measured.txt"), **options)
    values, out = values_of(run(listed, cohort, w))
    assert list(out.var().index) == measured
    if method != "voom":
        expected = fit(DATA[:, measured].copy(), method)[0]
        np.testing.assert_allclose(values, dense(expected.X), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("method", ["log1p_cpm", "tmm", "quantile", "combat"])
def test_a_later_cohort_whose_deposit_lacks_a_gene_of_the_fit_is_refused(
    method, cohort_of, write_cohort, tmp_path
):
    w = str(tmp_path / "W")
    earlier = run(NormalizeParams(method=method, n_variable_genes=9), cohort_of(["batch"]), w)
    in_all = ~np.isin(np.arange(len(GENES)), [7, 8])
    later = cohort_of(["batch"], in_all=in_all)
    with pytest.raises(BadInput, match="lacks 2 of the 200 genes of the fit, such as g007, g008 "):
        run(NormalizeParams(), later, w, fit=earlier)


def test_a_gene_that_is_there_twice_is_named():
    state = fit(DATA, "log1p_cpm")[1]
    twice = DATA[:3].copy()
    twice.var_names = ["g001" if gene == "g000" else gene for gene in GENES.index]
    with pytest.raises(BadInput, match=r"1 genes are there twice, such as g001 \(give each gene"):
        apply_fit(twice, state)


@pytest.mark.parametrize("method", ["combat", "reference_ratio"])
def test_a_new_batch_is_frozen_where_it_was_first_seen(method):
    known, new = DATA[TABLE["batch"] != "z"].copy(), DATA[TABLE["batch"] == "z"].copy()
    state = fit(known, method)[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, longer = extend_fit(new[:3].copy(), state)
        refitted = apply_fit(new[3:].copy(), state)
    assert "z" in longer.levelling.batches
    assert longer.tree.leaves == (*state.tree.leaves, ("z",))
    store = open_store(f"memory://fits/new-{method}")
    for name, content in longer.files().items():
        store.put(name, content)
    read = read_state(f"memory://fits/new-{method}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, same = extend_fit(new.copy(), read)
    np.testing.assert_allclose(again.X[:3], first.X, rtol=1e-12)
    assert abs(again.X[3:] - refitted.X).max() > 1e-3
    assert same.files() == longer.files()
    np.testing.assert_array_equal(apply_fit(known, read).X, apply_fit(known, state).X)


def test_a_new_batch_does_not_rename_those_of_the_fit():
    table = TABLE.assign(lab=TABLE["batch"].map({"x": "one", "y": "two", "z": "one"}))
    table["place"] = TABLE["batch"].map({"x": "here", "y": "here", "z": "there"})
    data = ad.AnnData(DATA.X, obs=table, var=GENES)
    known = data[TABLE["batch"] != "z"].copy()
    values, state = fit_counts(known, "combat", "lab")
    state = replace(state, tree=BatchTree(("place", "lab"), (("here", "one"), ("here", "two"))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, longer = extend_fit(data[TABLE["batch"] == "z"].copy(), state)
    assert longer.levelling.batches == ("one", "two", "there>one")
    again, _ = extend_fit(data.copy(), longer)
    np.testing.assert_array_equal(again.X[TABLE["batch"] == "z"], first.X)
    np.testing.assert_allclose(again.X[TABLE["batch"] != "z"], values.X, rtol=1e-12)


def test_a_later_cohort_writes_the_batches_that_were_new(cohort_of, write_cohort, tmp_path):
    w, old = str(tmp_path / "W"), (TABLE["batch"] != "z").to_numpy()
    parts = [
        write_cohort(
            DATA.X[rows], TABLE[rows], ["batch"], genes=list(GENES.index), condition="condition"
        )
        for rows in (old, ~old)
    ]
    earlier = run(NormalizeParams(method="combat", n_variable_genes=9), parts[0], w)
    second = run(NormalizeParams(), parts[1], w, fit=earlier)
    assert read_state(second).levelling.batches == ("x", "y", "z")
    third, out = values_of(run(NormalizeParams(), cohort_of(["batch"]), w, fit=second))
    np.testing.assert_array_equal(third[~old], values_of(second)[0])
    np.testing.assert_array_equal(third[old], values_of(earlier)[0])
    assert out.manifest["genes"] == "variable"


def test_a_fit_of_one_batch_takes_in_the_next():
    known, new = DATA[TABLE["batch"] == "x"].copy(), DATA[TABLE["batch"] == "y"].copy()
    values, state = fit(known, "reference_ratio")
    np.testing.assert_array_equal(apply_fit(known, state).X, values.X)
    assert extend_fit(new, state)[1].levelling.batches == ("x", "y")


def test_vst_fitted_with_batches_is_applied_without():
    values, state = fit_counts(DATA, "vst", "batch", trend_genes=0, blind=False)
    later = DATA[[4, 9]].copy()
    del later.obs["batch"]
    np.testing.assert_allclose(apply_fit(later, state).X, values.X[[4, 9]], rtol=1e-9)


def test_a_later_cohort_is_brought_to_the_scale_of_an_earlier_one(write_cohort, tmp_path):
    w = str(tmp_path / "W")
    first = write_cohort(DATA.X, TABLE, ["batch"], genes=list(GENES.index), condition="condition")
    params = NormalizeParams(method="combat", values="vst", trend_genes=0, output_genes="all")
    earlier = run(params, first, w)
    rows = [3, 7, 11, 14]
    order = np.r_[50:200, 0:50]
    later = write_cohort(
        DATA.X[rows][:, order],
        TABLE.iloc[rows],
        ["batch"],
        genes=list(GENES.index[order]),
        condition="condition",
    )
    out = open_normalized(run(NormalizeParams(), later, w, fit=earlier))
    assert out.manifest["genes"] == "all"
    with pytest.raises(BadOption, match=r"--method: the fit has its own \(leave it out"):
        run(NormalizeParams(method="tmm"), later, w, fit=earlier)
    frame = pd.DataFrame(dense(next(out.shards()).X), columns=out.var().index)
    values = next(open_normalized(earlier).shards())
    expected = pd.DataFrame(values.X[rows], columns=values.var_names)
    pd.testing.assert_frame_equal(frame[expected.columns], expected, check_names=False, rtol=1e-6)
    assert out.manifest["unit"] == "VST, log2"


def test_a_new_batch_of_combat_is_levelled_from_its_own_samples_and_told():
    state = fit(DATA[TABLE["batch"] != "z"].copy(), "combat")[1]
    new = DATA[TABLE["batch"] == "z"].copy()
    with pytest.warns(UserWarning, match="shift and scale of 1 new batches come from these"):
        values = apply_fit(new, state, condition="condition")
    base = levelseq.normalize_counts(DATA, "log1p_cpm")
    before = abs(base.X[TABLE["batch"] == "z"].mean(0) - base.X[TABLE["batch"] != "z"].mean(0))
    after = abs(values.X.mean(0) - base.X[TABLE["batch"] != "z"].mean(0))
    assert np.median(after) < 0.5 * np.median(before)


def test_genes_that_a_fit_needs_are_named():
    state = fit(DATA, "vst")[1]
    with pytest.raises(BadInput, match="lacks 3 of the 200 genes of the fit, such as g000, g001"):
        apply_fit(DATA[:, 3:].copy(), state)


def test_an_unknown_batch_is_named_by_a_method_that_cannot_estimate_it():
    for method in ("remove_batch_effect", "combat_seq"):
        state = fit(DATA, method)[1]
        new = DATA[:3].copy()
        new.obs["batch"] = "w"
        with pytest.raises(BadInput, match="w"):
            apply_fit(new, state, condition="condition")


def test_given_values_leave_the_layer_of_counts_alone():
    data = ad.AnnData(np.log1p(DATA.X), obs=TABLE, var=GENES, layers={"counts": DATA.X})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = levelseq.normalize_counts(data, "combat", "batch", values="given")
        other = levelseq.normalize_counts(ad.AnnData(data.X, TABLE), "combat", values="given")
    np.testing.assert_array_equal(out.layers["counts"], DATA.X)
    assert not other.layers


def test_missing_values_of_a_large_table_are_read_in_parts(monkeypatch):
    logs = np.log2(COUNTS.to_numpy() / 50 + 0.1)
    logs[2, 7] = np.nan
    call = {"method": "remove_batch_effect", "batch": TABLE["batch"], "values": "given"}
    whole = levelseq.normalize_counts(logs, **call)
    monkeypatch.setattr(stream, "_PART_ELEMENTS", 7 * logs.shape[1])
    np.testing.assert_array_equal(levelseq.normalize_counts(logs, **call), whole)
    assert np.isnan(whole).sum() == 1


def test_given_values_may_be_negative_and_missing():
    logs = pd.DataFrame(np.log2(COUNTS.to_numpy() / 50 + 0.1), TABLE.index, GENES.index)
    logs.iloc[2, 7] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = levelseq.normalize_counts(logs, "combat", TABLE["batch"], values="given")
    assert np.isnan(out.iloc[2, 7])
    assert np.isfinite(out.drop(columns=GENES.index[7])).all(axis=None)
    with pytest.raises(BadInput, match="NaN"):
        levelseq.normalize_counts(logs, "combat", TABLE["batch"])


def test_zeros_of_different_libraries_are_one_value_to_combat():
    logs = levelseq.normalize_counts(COUNTS, "log_cpm")
    zero = [(COUNTS[TABLE["batch"] == b] == 0).all(axis=0) for b in "xyz"]
    uniform = int(np.any(zero, axis=0).sum())
    assert uniform
    said = f"{uniform} of 200 genes are uniform within a batch"
    with pytest.warns(UserWarning, match=said):
        levelled = levelseq.normalize_counts(
            COUNTS, "combat", TABLE["batch"], values="log_cpm", size_factors="tmm"
        )
    # sva asks for a variance of exactly zero, so that rounding would bring those genes in.
    rounded = levelseq.normalize_counts(logs.round(10), "combat", TABLE["batch"], values="given")
    np.testing.assert_allclose(levelled, rounded, atol=1e-9)


def test_what_a_design_does_not_tell_is_said():
    data = DATA[[0, 1, 2, 3, 5, 6, 7, 8, 11]].copy()
    with pytest.warns(UserWarning, match="cannot be estimated: variance within z: one sample"):
        levelseq.normalize_counts(data, "combat", "batch")


def test_control_genes_and_covariates_are_heard():
    some = list(GENES.index[50:90])
    own = levelseq.normalize_counts(COUNTS, "normalized_counts", control_genes=some)
    every = levelseq.normalize_counts(COUNTS, "normalized_counts")
    assert not np.allclose(own, every)
    with pytest.raises(BadOption, match="1 genes are not in the counts, such as nope"):
        levelseq.normalize_counts(COUNTS, "median_of_ratios", control_genes=["nope"])
    kept = levelseq.normalize_counts(
        COUNTS, "remove_batch_effect", TABLE["batch"], covariates=TABLE[["age", "sex"]]
    )
    plain = levelseq.normalize_counts(COUNTS, "remove_batch_effect", TABLE["batch"])
    assert not np.allclose(kept, plain)


def test_methods_without_a_batch_do_not_look_for_one():
    out = levelseq.normalize_counts(DATA, "voom")
    assert set(out.layers) == {"counts", "weights"}
    with pytest.raises(BadOption, match="no column 'run' in obs"):
        levelseq.normalize_counts(DATA, "combat", "run")
