"""Every method, the same in memory, from a cohort of shards, and for later samples."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import levelseq
from levelseq.cohort import open_normalized
from levelseq.errors import BadInput, BadOption
from levelseq.normalize.counts import apply_fit, fit_counts
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
    np.testing.assert_allclose(dense(later.X), dense(values.X)[[4, 9, 16]], rtol=near, atol=near)


@pytest.mark.parametrize("method", CATALOGUE)
def test_a_cohort_of_shards_gets_what_a_table_gets(method, write_cohort, tmp_path):
    tree = ["site", "batch"] if method == "combat_tree" else ["batch"]
    cohort = write_cohort(
        DATA.X, TABLE, tree, genes=list(GENES.index), condition="condition", shard=7
    )
    features = method in ("rpkm", "tpm", "within_lane")
    params = NormalizeParams(method=method, output_genes="all", **OPTIONS.get(method, {}))
    if features:
        with pytest.raises(BadInput, match=r"needed and is not there \(give --genes"):
            run(params, cohort, str(tmp_path / "W"))
        return
    out = open_normalized(run(params, cohort, str(tmp_path / "W")))
    found = np.vstack([dense(shard.X) for shard in out.shards()])
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
