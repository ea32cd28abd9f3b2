"""`levelseq.normalize_counts`: AnnData, DataFrame or array in, the same kind out."""

from __future__ import annotations

import os
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import levelseq
from levelseq.errors import BadInput, BadOption
from levelseq.normalize import combat, compiled, log1p_cpm, median_of_ratios
from levelseq.normalize.counts import apply_fit, fit_counts

from .drawn import draw_counts

COUNTS, TABLE = draw_counts()


def cpm_by_library():
    return np.log1p(COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e6)


def test_every_kind_gives_the_same_values():
    design = combat.Design(TABLE["lab"].to_numpy(), {"condition": TABLE["condition"].to_numpy()})
    expected = combat.apply(cpm_by_library(), design, combat.fit(cpm_by_library(), design))
    data = ad.AnnData(X=sp.csr_matrix(COUNTS), obs=TABLE)
    frame = pd.DataFrame(COUNTS, index=TABLE.index)
    options = {"batch": TABLE["lab"], "condition": TABLE["condition"]}

    out = levelseq.normalize_counts(data, batch="lab", condition="condition")
    assert isinstance(out, ad.AnnData)
    np.testing.assert_allclose(out.X, expected, rtol=1e-12)
    assert (out.layers["counts"] != data.X).nnz == 0
    assert list(out.obs.columns) == [*TABLE.columns, "size_factor", "native_factor"]
    assert "size_factor" not in data.obs

    out = levelseq.normalize_counts(frame, **options)
    pd.testing.assert_frame_equal(
        out, pd.DataFrame(expected, index=frame.index, columns=frame.columns), rtol=1e-12
    )
    out = levelseq.normalize_counts(COUNTS, batch=list(TABLE["lab"]), condition=TABLE["condition"])
    assert isinstance(out, np.ndarray)
    np.testing.assert_allclose(out, expected, rtol=1e-12)


def test_a_series_is_matched_by_sample_name():
    frame = pd.DataFrame(COUNTS, index=TABLE.index)
    shuffled = TABLE["lab"].sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        levelseq.normalize_counts(frame, batch=shuffled),
        levelseq.normalize_counts(frame, batch=TABLE["lab"]),
    )
    with pytest.raises(BadInput, match="no value for sample s000"):
        levelseq.normalize_counts(frame, batch=TABLE["lab"].iloc[1:])


def test_the_other_methods_give_log1p_cpm_by_their_size_factors():
    factors = median_of_ratios.apply(COUNTS, median_of_ratios.fit(COUNTS))
    factors /= np.exp(np.log(factors).mean())
    library = np.exp(np.log(COUNTS.sum(axis=1)).mean())
    np.testing.assert_allclose(
        levelseq.normalize_counts(COUNTS, "median_of_ratios"),
        np.log1p(1e6 * COUNTS / (factors[:, None] * library)),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        levelseq.normalize_counts(COUNTS, "log1p_cpm"), cpm_by_library(), rtol=1e-12
    )
    sparse = levelseq.normalize_counts(sp.csr_matrix(COUNTS), "tmm")
    assert sp.issparse(sparse)
    np.testing.assert_allclose(sparse.toarray(), levelseq.normalize_counts(COUNTS, "tmm"))


def test_batch_falls_and_condition_stays():
    out = levelseq.normalize_counts(COUNTS, batch=TABLE["lab"], condition=TABLE["condition"])
    labs, treated = TABLE["lab"].to_numpy(), (TABLE["condition"] == "treated").to_numpy()

    def spread(values):
        return np.var([values[labs == lab].mean(axis=0) for lab in np.unique(labs)], axis=0).mean()

    def change(values):
        return (values[treated].mean(axis=0) - values[~treated].mean(axis=0))[:10].mean()

    assert spread(out) < 0.05 * spread(cpm_by_library())
    assert change(out) == pytest.approx(change(cpm_by_library()), rel=0.1)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        ({"method": "magic"}, BadOption, "'magic' is not a method .*use one of .*combat"),
        ({"batch": "lab"}, BadOption, "'lab' names no column of plain counts"),
        ({"batch": ["a"] * 60}, BadInput, "has one batch, 'a'"),
        ({"batch": ["a"] * 3}, BadInput, "one value for each of 60 samples"),
    ],
)
def test_wrong_options_are_one_line(call, kind, said):
    with pytest.raises(kind, match=said):
        levelseq.normalize_counts(COUNTS, **call)


def test_an_unknown_column_is_named_with_those_there():
    data = ad.AnnData(X=COUNTS, obs=TABLE)
    with pytest.raises(BadOption, match=r"no column 'batch' in obs .*site, lab, condition"):
        levelseq.normalize_counts(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (COUNTS + 0.5, "not whole numbers"),
        (COUNTS - 10, "row 0: a count is negative"),
        (pd.DataFrame(COUNTS).assign(name="x"), "column 'name': does not hold counts"),
        (COUNTS[0], "need samples x genes"),
        (np.zeros((3, 4)), "no sample has counts"),
    ],
)
def test_what_is_not_counts_is_refused(data, said):
    with pytest.raises(BadInput, match=said):
        levelseq.normalize_counts(data, batch=list(TABLE["lab"])[: len(data)])


def test_what_is_left_alone_is_told():
    counts = COUNTS.copy()
    counts[TABLE["lab"] == "lab1", 5] = 0
    with pytest.warns(UserWarning, match="1 of 80 genes are uniform within a batch"):
        out = levelseq.normalize_counts(counts, batch=TABLE["lab"])
    assert np.isfinite(out).all()
    assert (out[TABLE["lab"] == "lab1", 5] == 0).all()
    counts[4] = 0
    with pytest.warns(UserWarning, match="1 samples have no counts"):
        assert np.isfinite(levelseq.normalize_counts(counts, "log1p_cpm")).all()


def test_log1p_cpm_state_brings_new_samples_to_the_same_scale():
    state = log1p_cpm.fit(COUNTS[:40])
    values = log1p_cpm.values(
        COUNTS[40:], log1p_cpm.apply(COUNTS[40:], state), state.reference_library
    )
    np.testing.assert_allclose(values, cpm_by_library()[40:], rtol=1e-12)


def test_importing_levelseq_imports_nothing_heavy():
    code = "import sys, levelseq; print([m for m in ('torch', 'anndata') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert levelseq.open_cohort.__module__ == "levelseq.cohort.cohort"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = levelseq.nothing


@pytest.mark.parametrize("absent", [None, np.nan, "NA", ""])
def test_a_sample_without_a_batch_is_refused(absent):
    labs = list(TABLE["lab"])
    state = fit_counts(pd.DataFrame(COUNTS, TABLE.index), batch=labs)[1]
    labs[7] = absent
    table = TABLE.assign(lab=labs)
    said = "column 'lab': has no value for 1 of 60 samples"
    with pytest.raises(BadInput, match=said):
        levelseq.normalize_counts(COUNTS, batch=pd.Series(labs, name="lab"))
    with pytest.raises(BadInput, match=said):
        levelseq.normalize_counts(ad.AnnData(COUNTS, table), "combat_tree", "site>lab")
    with pytest.raises(BadInput, match=said):
        apply_fit(pd.DataFrame(COUNTS, TABLE.index), state, table["lab"])


def test_two_columns_of_one_name_are_refused():
    names = pd.Series([f"{b}{c}" for b, c in zip(TABLE["lab"].str[-1], TABLE["condition"].str[0])])
    names.name = "id"
    call = {"batch": names.str[0], "condition": names.str[1]}
    with pytest.raises(BadOption, match="batch and condition are both called 'id'"):
        levelseq.normalize_counts(COUNTS, **call)
    covariates = pd.DataFrame({"id": TABLE["condition"].to_numpy()})
    with pytest.raises(BadOption, match="batch and covariates are both called 'id'"):
        levelseq.normalize_counts(COUNTS, batch=call["batch"], covariates=covariates)
    state = fit_counts(COUNTS, **call | {"condition": call["condition"].rename("arm")})[1]
    with pytest.raises(BadOption, match="batch and condition are both called 'arm'"):
        apply_fit(COUNTS, state, call["batch"].rename("arm"), call["condition"])
    expected = levelseq.normalize_counts(COUNTS, "combat", TABLE["lab"], TABLE["condition"])
    found = apply_fit(COUNTS, state, call["batch"], call["condition"])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_an_array_has_the_genes_of_the_fit_in_their_order():
    frame = pd.DataFrame(COUNTS, TABLE.index, [f"g{i}" for i in range(80)])
    values, state = fit_counts(frame, "log1p_cpm")
    np.testing.assert_array_equal(apply_fit(COUNTS[3:9], state), values.iloc[3:9])
    np.testing.assert_array_equal(
        apply_fit(COUNTS[3:9], fit_counts(COUNTS, "tmm")[1]).shape, (6, 80)
    )
    for wrong in (COUNTS[:, :79], np.hstack([COUNTS, COUNTS])):
        for fitted in (state, fit_counts(COUNTS, "log1p_cpm")[1]):
            with pytest.raises(BadInput, match="genes, the fit had 80"):
                apply_fit(wrong, fitted)


@pytest.mark.parametrize("method", ["tmm", "log_cpm", "quantile"])
def test_a_batch_that_is_not_used_is_told(method):
    with pytest.warns(UserWarning, match=f"{method} does not use batch"):
        out = levelseq.normalize_counts(COUNTS, method, TABLE["lab"])
    np.testing.assert_array_equal(out, levelseq.normalize_counts(COUNTS, method))


def test_threads_are_counted_where_the_system_tells_no_affinity(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert compiled.n_threads() == os.cpu_count()
