"""Variance stabilized values are DESeq2 1.38's, and those of new samples rest on frozen trends.

Tolerance 1e-9 max(1, |b|) throughout. The local trend of the oracles' `mini` alone has 2e-9: its
size factors are given to 15 digits, and the rounding of the data shows so far in a local regression
(from the size factors that R itself holds, the answers agree to 1e-13).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

import levelseq
from levelseq.errors import BadInput, BadOption
from levelseq.normalize import vst

from . import deseq_answers as r


def of_oracle(oracle, name):
    x = oracle(f"data/{name}/counts.csv.gz").T
    size_S = oracle(f"golden/{name}/deseq2_sf_ratio.csv.gz").loc[x.index, "value"].to_numpy()

    def golden(what):
        return oracle(f"golden/{name}/deseq2_{what}.csv.gz").T.loc[x.index].to_numpy()

    return x, size_S, golden


@pytest.mark.parametrize("name", ["mini", "marioni"])
@pytest.mark.parametrize("trend", ["parametric", "local", "mean"])
def test_values_are_deseq2s(oracle, within, name, trend):
    x, size_S, golden = of_oracle(oracle, name)
    state = vst.fit(x.to_numpy(), size_S, trend=trend, n_genes=0)
    assert (state.trend, state.notice) == (trend, "")
    ours, theirs = vst.apply(x.to_numpy(), size_S, state), golden(f"vst_full_blind_{trend}")
    if (name, trend) == ("mini", "local"):
        assert (np.abs(ours - theirs) <= 2e-9 * np.maximum(1, np.abs(theirs))).all()
    else:
        within(ours, theirs)


def test_values_by_a_thousand_genes_are_those_of_vst(oracle, within):
    x, size_S, golden = of_oracle(oracle, "marioni")
    state = vst.fit(x.to_numpy(), size_S)
    within(vst.apply(x.to_numpy(), size_S, state), golden("vst_blind"))
    coefficients = oracle("golden/marioni/deseq2_vst_blind_coefs.csv.gz")["value"]
    within(state.coefficients, coefficients)


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_values_under_a_design_are_deseq2s(oracle, within, name):
    x, size_S, golden = of_oracle(oracle, name)
    samples = oracle(f"data/{name}/samples.csv").loc[x.index]
    design_SK = r.design("batch", "condition", samples=samples)
    state = vst.fit(x.to_numpy(), size_S, n_genes=0, design_SK=design_SK)
    within(vst.apply(x.to_numpy(), size_S, state), golden("vst_full_design"))


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_normalized_counts_and_fpm_are_deseq2s(oracle, within, name):
    x, size_S, golden = of_oracle(oracle, name)
    within(levelseq.normalize_counts(x, "normalized_counts"), golden("norm_counts"))
    within(vst.fpm(sp.csr_matrix(x.to_numpy()), size_S), golden("fpm_robust"))


@pytest.mark.parametrize("trend", ["parametric", "local", "mean"])
def test_values_of_the_kept_counts(within, trend):
    state = vst.fit(r.counts(), r.size(), trend=trend, n_genes=0)
    assert state.trend == trend
    within(vst.apply(r.counts(), r.size(), state)[r.FEW], r.values(trend))


def test_values_under_batch_and_condition(within):
    design_SK = r.design("batch", "condition")
    state = vst.fit(r.counts(), r.size(), n_genes=0, design_SK=design_SK)
    within(vst.apply(r.counts(), r.size(), state)[r.FEW], r.values("designed"))


def test_where_the_parametric_trend_fails_the_local_one_is_taken_and_said(within):
    state = vst.fit(r.counts(), r.size(), n_genes=60)
    assert state.trend == "local"
    assert "local regression" in state.notice
    within(vst.apply(r.counts(), r.size(), state)[r.FEW], r.values("subset"))


@pytest.mark.parametrize("trend", ["parametric", "local", "mean"])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("n_genes", [0, 60])
def test_chunks_give_what_the_whole_gives(trend, kind, n_genes):
    x, size_S = r.counts(), r.size()
    whole = vst.fit(x, size_S, trend=trend, n_genes=n_genes)
    chunks = r.in_chunks(kind(x.astype(np.uint16)))
    state = vst.fit_streamed(chunks, size_S, trend=trend, n_genes=n_genes)
    for item in dataclasses.fields(state):
        np.testing.assert_array_equal(getattr(state, item.name), getattr(whole, item.name))
    parts = list(vst.apply_streamed(chunks, size_S, state))
    assert len(parts) == 4
    np.testing.assert_array_equal(np.concatenate(parts), vst.apply(x, size_S, whole))


@pytest.mark.parametrize("trend", ["parametric", "local", "mean"])
def test_a_sample_alone_and_any_genes_get_the_values_that_they_have_in_the_fit(trend):
    x, size_S = r.counts(), r.size()
    state = vst.fit(x, size_S, trend=trend, n_genes=0)
    among = vst.apply(x, size_S, state)
    np.testing.assert_array_equal(vst.apply(x[4:5], size_S[4:5], state)[0], among[4])
    np.testing.assert_array_equal(vst.apply(x[:, 5:40:7], size_S, state), among[:, 5:40:7])


@pytest.mark.parametrize("trend", ["parametric", "local", "mean"])
def test_counts_beyond_the_fit_go_on_rising(trend):
    x, size_S = r.counts(), r.size()
    state = vst.fit(x, size_S, trend=trend, n_genes=0)
    high = (x / size_S[:, None]).max() * np.array([[0.5, 0.99, 1.0, 1.01, 2, 10, 100]]).round(2)
    values = vst.apply(high, np.ones(1), state)[0]
    assert (np.diff(values) > 0).all()
    assert np.diff(values)[-1] < 8


def test_high_values_are_log2():
    state = vst.fit(r.counts(), r.size(), n_genes=0)
    high = np.array([[1e6, 2e6, 1e7]])
    np.testing.assert_allclose(np.diff(vst.apply(high, np.ones(1), state)), [[1, np.log2(5)]], 1e-5)


def test_small_counts_looked_up_are_what_is_computed():
    state = vst.fit(r.counts(), r.size(), n_genes=0)
    x = np.tile(np.arange(700), (2, 4))
    size_S = np.array([0.7, 1.9])
    many = vst.apply(x, size_S, state)
    np.testing.assert_array_equal(many[:, :700], vst.apply(x[:, :700], size_S, state))
    single = vst.apply(x, size_S, state, dtype=np.float32)
    np.testing.assert_array_equal(single, many.astype(np.float32))


def test_zero_genes_and_constant_genes_make_no_nan():
    x = r.counts().copy()
    x[:, :30], x[:, 30:60] = 0, 9
    for trend in ("parametric", "local", "mean"):
        state = vst.fit(x, r.size(), trend=trend, n_genes=0)
        assert np.isfinite(vst.apply(x, r.size(), state)).all()


def test_few_genes_and_two_samples_have_values():
    x = r.counts()
    big = np.argsort(-x.min(axis=0))[:5]
    for rows in (slice(0, 2), slice(None)):
        state = vst.fit(x[rows][:, big], r.size()[rows], n_genes=0)
        values = vst.apply(x[rows][:, big], r.size()[rows], state)
        assert values.shape == x[rows][:, big].shape
        assert np.isfinite(values).all()


def test_identical_samples_have_no_trend():
    x = np.tile(np.arange(6, 80), (4, 1))
    with pytest.raises(BadInput, match="identical samples"):
        vst.fit(x, np.ones(4), n_genes=0)


def test_what_cannot_be_fitted_is_refused():
    x, size_S = r.counts(), r.size()
    with pytest.raises(BadInput, match=r"mean normalized count above 5, .*1000.*trend-genes 0"):
        vst.fit(x, size_S)
    with pytest.raises(BadInput, match="no replicates"):
        vst.fit(x[:1], size_S[:1], n_genes=0)
    with pytest.raises(BadOption, match="spline"):
        vst.fit(x, size_S, trend="spline", n_genes=0)
    with pytest.raises(BadInput, match="sample b: a count is not a whole number"):
        vst.fit(x[:4] + np.array([[0], [0.5], [0], [0]]), size_S[:4], samples=list("abcd"))
    for wrong in (size_S[:3], np.append(size_S, 1)):
        with pytest.raises(BadInput, match="size factors for"):
            vst.fit(x, wrong, n_genes=0)
    with pytest.raises(BadInput, match="row 1: a size factor"):
        vst.apply(x[:2], np.array([1, 0]), vst.fit(x, size_S, n_genes=0))


def test_fpm_of_a_sample_without_counts_is_refused():
    with pytest.raises(BadInput, match="row 1: has no counts"):
        vst.fpm(np.array([[1, 2], [0, 0]]))
