"""Voom's values and weights are limma 3.54's, and lowess is R's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import cpm, voom
from levelseq.normalize.lowess import lowess

from . import limma_answers as r

FULL = ("batch", "condition", "age")


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_values_and_weights_are_limmas(oracle, within, name):
    x = oracle(f"data/{name}/counts.csv.gz").T
    samples = oracle(f"data/{name}/samples.csv").loc[x.index]
    x, raw_S = x.to_numpy(), x.to_numpy().sum(axis=1)
    library_S = raw_S * oracle(f"golden/{name}/edger_nf_TMM.csv.gz")["value"].to_numpy()

    def golden(what):
        return oracle(f"golden/{name}/limma_voom_{what}.csv.gz").T.to_numpy()

    design_SK = r.dummies("condition", samples=samples)
    e_SG, weight_SG = voom.apply(x, library_S, voom.fit(x, library_S, design_SK), design_SK)
    within(e_SG, golden("E"))
    within(weight_SG, golden("weights"))
    design_SK = r.dummies("batch", "condition", samples=samples)
    state = voom.fit(x, library_S, design_SK)
    within(voom.apply(x, library_S, state, design_SK)[1], golden("weights_batchcond"))
    within(voom.apply(x, raw_S, voom.fit(x, raw_S))[1], golden("weights_intercept"))


def test_weights_of_the_kept_counts(within):
    x, library_S, design_SK = r.counts(), r.library(), r.dummies(*FULL)
    state = voom.fit(x, library_S, design_SK)
    assert state.notices() == []
    within(voom.apply(x, library_S, state, design_SK)[1][:, ::4], r.answer("voom_weights"))


def test_a_column_that_says_nothing_new_is_left_out_as_by_r(within):
    x, library_S, full = r.counts(), r.library(), r.dummies(*FULL)
    design_SK = np.column_stack([full[:, :3], full[:, 1] + full[:, 2], full[:, 3:]])
    state = voom.fit(x, library_S, design_SK, span=0.3)
    weight_SG = voom.apply(x, library_S, state, design_SK)[1]
    within(weight_SG[:, ::4], r.answer("voom_weights_deficient"))
    assert state.not_estimable == (3,)
    assert "columns 3" in state.notices()[0]


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_chunks_give_what_the_whole_gives(kind):
    x, library_S, design_SK = r.counts(), r.library(), r.dummies(*FULL)
    whole = voom.fit(kind(x), library_S, design_SK)
    streamed = voom.fit_streamed(r.in_chunks(x, 5, kind), library_S, design_SK)
    np.testing.assert_allclose(streamed.curve_x, whole.curve_x, rtol=1e-13)
    np.testing.assert_allclose(streamed.curve_y, whole.curve_y, rtol=1e-11)
    np.testing.assert_allclose(streamed.coefficient_KG, whole.coefficient_KG, atol=1e-12)


def test_a_sample_alone_has_the_values_that_it_has_among_others():
    x, library_S, design_SK = r.counts(), r.library(), r.dummies(*FULL)
    state = voom.fit(x[:14], library_S[:14], design_SK[:14])
    among = voom.apply(x, library_S, state, design_SK)
    alone = voom.apply(x[16:17], library_S[16:17], state, design_SK[16:17])
    np.testing.assert_array_equal(alone[0][0], among[0][16])
    np.testing.assert_allclose(alone[1][0], among[1][16], rtol=1e-13)


def test_a_new_sample_with_a_larger_library_has_more_weight():
    x, library_S = r.counts(), r.library()
    state = voom.fit(x, library_S)
    new, more = (voom.apply(x[:1], [size], state)[1] for size in (5e3, 5e5))
    assert np.median(more / new) > 2


def test_small_counts_with_ties_have_finite_weights():
    rng = np.random.default_rng(1)
    x = rng.poisson(0.3, (6, 50))
    x[:, :5], x[:, 5] = 0, 7
    x[2] = 0
    e_SG, weight_SG = voom.apply(x, x.sum(axis=1), voom.fit(x, x.sum(axis=1)))
    assert e_SG.shape == weight_SG.shape == (6, 50)
    assert np.isfinite(e_SG).all()
    assert np.isfinite(weight_SG).all()
    assert (weight_SG > 0).all()


def test_without_replication_all_weights_are_one():
    x = r.counts()[:2]
    state = voom.fit(x, x.sum(axis=1), [[1, 0], [1, 1]])
    assert "no replication" in state.notices()[0]
    np.testing.assert_array_equal(voom.apply(x, x.sum(axis=1), state, np.eye(2))[1], 1)


def test_what_has_no_trend_is_refused():
    x = r.counts()
    with pytest.raises(BadInput, match="one gene, and a trend needs two"):
        voom.fit(x[:, 30:31], x.sum(axis=1))
    with pytest.raises(BadInput, match="0 genes have counts"):
        voom.fit(np.zeros((3, 4)), np.ones(3))
    with pytest.raises(BadInput, match="copies of each other"):
        voom.fit(np.tile(x[:1], (4, 1)), np.full(4, 1e4))
    with pytest.raises(BadInput, match="sample b: a count is negative"):
        voom.fit(np.array([[1.0, 2.0], [-1.0, 2.0]]), [3.0, 1.0], samples=["a", "b"])


def test_a_design_that_does_not_match_is_refused():
    x, library_S, design_SK = r.counts(), r.library(), r.dummies(*FULL)
    with pytest.raises(BadInput, match="design: shape"):
        voom.fit(x, library_S, design_SK[:4])
    with pytest.raises(BadInput, match="sample in row 2"):
        voom.fit(x, library_S, np.where(np.arange(len(x)) == 2, np.nan, 1.0)[:, None])
    state = voom.fit(x, library_S, design_SK)
    with pytest.raises(BadInput, match="has 1 columns, the fit had 5"):
        voom.apply(x, library_S, state)
    with pytest.raises(BadInput, match="has 3 genes, the fit had 200"):
        voom.apply(x[:, :3], library_S, state, design_SK)
    with pytest.raises(BadInput, match="17 libraries for 18 samples"):
        voom.fit(x, library_S[:17])


def test_lowess_is_rs(within):
    answers = r.table("limma_lowess")
    log_cpm = log_cpm_of_the_kept()
    smooth = lowess(log_cpm[0], log_cpm[1], span=0.2, iterations=2)
    within(smooth.x, answers["x"])
    within(smooth.y, answers["y"])
    tied = lowess(np.round(log_cpm[0]), log_cpm[1], span=0.4, delta=0)
    within(tied.x, answers["tied_x"])
    within(tied.y, answers["tied_y"])


def log_cpm_of_the_kept():
    return cpm.apply(r.counts(), r.library(), cpm.fit(r.library()))


def test_lowess_of_one_point_and_of_one_position():
    assert lowess([2.0], [5.0]).y.tolist() == [5.0]
    np.testing.assert_allclose(lowess([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]).y, 2.0)


def test_lowess_follows_the_points_and_ignores_an_outlier():
    x = np.linspace(0, 1, 300)
    y = 2 * x + 1 + np.where(np.arange(300) % 2, 0.01, -0.01)
    y[150] = 1000
    curve = lowess(x, pd.Series(y), span=0.3)
    np.testing.assert_allclose(curve.y, 2 * x + 1, atol=0.01)
    assert 100 < curve.fitted.sum() < 200


def test_lowess_refuses_what_is_no_row_of_points():
    with pytest.raises(BadInput, match="NaN"):
        lowess([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(BadInput, match="shapes"):
        lowess([1.0], [1.0, 2.0])
    with pytest.raises(BadOption, match="span"):
        lowess([1.0, 2.0], [1.0, 2.0], span=0)
