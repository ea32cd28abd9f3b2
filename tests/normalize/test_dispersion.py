"""Gene-wise dispersions and their trends are DESeq2 1.38's.

DESeq2 stops its search early, but follows the same path on every machine; so do we. For an
intercept alone steps agree to the last bit and dispersions to 1e-9 and better. For other designs a
gene in a thousand may stop a step apart, at the same maximum: a relative 1e-6 of that gene.
"""

from __future__ import annotations

import numpy as np
import pytest

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import dispersion_trend, locfit
from levelseq.normalize.dispersion import gene_wise_dispersions
from levelseq.normalize.dispersion_kernels import line_search, literal_search
from levelseq.normalize.dispersion_means import Model

from . import deseq_answers as r


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_dispersions_are_deseq2s(oracle, within, name):
    x = oracle(f"data/{name}/counts.csv.gz")
    size_S = oracle(f"golden/{name}/deseq2_sf_ratio.csv.gz").loc[x.columns, "value"].to_numpy()
    golden = oracle(f"golden/{name}/deseq2_disp_gene.csv.gz")
    found = gene_wise_dispersions(x.to_numpy(), size_S)
    expressed = golden["dispGeneEst"].notna().to_numpy()
    assert (np.isnan(found.dispersion_G) == ~expressed).all()
    within(found.base_mean_G, golden["baseMean"])
    within(found.base_variance_G, golden["baseVar"])
    within(found.dispersion_G[expressed], golden["dispGeneEst"][expressed])
    trend = dispersion_trend.fit(found.base_mean_G, found.dispersion_G)
    within(trend.at(found.base_mean_G[expressed]), golden["dispFit"][expressed])
    coefficients = oracle(f"golden/{name}/deseq2_disp_coefs.csv.gz")["value"]
    within(trend.coefficients, coefficients)


@pytest.mark.parametrize(
    ("answer", "columns"),
    [("blind", ()), ("groups", ("condition",)), ("designed", ("batch", "condition"))],
)
def test_dispersions_under_a_design(within, answer, columns):
    golden = r.table("vst_gene")
    found = gene_wise_dispersions(r.counts().T, r.size(), r.design(*columns))
    expressed = golden[answer].notna().to_numpy()
    assert 0 < expressed.sum() < len(expressed)
    within(found.base_mean_G, golden["mean"])
    within(found.dispersion_G[expressed], golden[answer][expressed])
    assert np.isnan(found.dispersion_G[~expressed]).all()
    assert (found.steps_G[~expressed] == 0).all()


def test_genes_can_come_in_any_blocks_and_types():
    x_GS, size_S = r.counts().T, r.size()
    whole = gene_wise_dispersions(x_GS, size_S)
    parts = [gene_wise_dispersions(x_GS[i : i + 37].astype("u2"), size_S) for i in (0, 37, 74)]
    np.testing.assert_array_equal(
        np.concatenate([p.dispersion_G for p in parts]), whole.dispersion_G[:111]
    )


def test_a_gene_without_counts_in_one_group_has_a_dispersion():
    x_GS = r.counts().T.copy()
    design_SK = r.design("batch", "condition")
    x_GS[10:60, design_SK[:, -1] == 1] = 0
    found = gene_wise_dispersions(x_GS[10:60], r.size(), design_SK)
    some = x_GS[10:60].any(axis=1)
    assert some.sum() > 20
    assert np.isfinite(found.dispersion_G[some]).all()
    assert (found.dispersion_G[some] >= 1e-8).all()
    assert (found.dispersion_G[some] <= 18).all()


def test_a_constant_gene_has_the_least_dispersion_when_size_factors_are_one():
    x_GS = np.full((1, 8), 40)
    assert gene_wise_dispersions(x_GS, np.ones(8)).dispersion_G[0] == 1e-8


@pytest.mark.parametrize("columns", [(), ("batch", "condition")])
@pytest.mark.parametrize("prior_variance", [0.0, 1.0])
def test_on_whole_vectors_the_search_ends_where_the_literal_one_ends(columns, prior_variance):
    model = Model.of(r.size(), r.design(*columns))
    y_GS = r.counts().T[r.counts().any(axis=0)].astype(float)
    mu_GS = np.maximum(model.linear(y_GS / r.size()) * r.size(), 0.5)
    start_G = np.log(np.resize([1e-8, 1e-4, 0.01, 0.1, 1], len(y_GS)))
    settings = (np.log(1e-9), 1e-6, 100)
    found_4G, literal_4 = np.empty((4, len(y_GS))), np.empty(4)
    line_search(y_GS, mu_GS, model.rows, start_G, start_G, (prior_variance, *settings), found_4G)
    quick = 0
    for g, (log_alpha, steps, first, last) in enumerate(found_4G.T):
        prior = (start_G[g], prior_variance)
        literal_search(y_GS[g], mu_GS[g], model.rows, start_G[g], prior, settings, literal_4)
        no_gain = literal_4[3] < literal_4[2] + abs(literal_4[2]) / 1e6
        if steps == 0:
            assert no_gain
            assert last == first
            continue
        assert log_alpha == pytest.approx(literal_4[0], abs=1e-9)
        assert steps == literal_4[1]
        np.testing.assert_allclose([first, last], literal_4[2:], rtol=1e-9)
        quick += log_alpha != literal_4[0]
    assert quick > len(y_GS) / 4


def test_a_dispersion_that_is_known_is_found():
    rng = np.random.default_rng(0)
    y_GS = rng.negative_binomial(1 / 0.25, 1 / (1 + 0.25 * 200), (30, 3000))
    found = gene_wise_dispersions(y_GS, np.ones(3000)).dispersion_G
    np.testing.assert_allclose(found, 0.25, rtol=0.15)
    assert found.mean() == pytest.approx(0.25, rel=0.02)


@pytest.mark.parametrize(
    ("size", "design", "said"),
    [
        ([1, 1, 0, 1], None, "row 2: a size factor is not a positive number"),
        ([1, 1, 1, np.nan], None, "row 3: a size factor"),
        ([1, 1, 1], None, "3 size factors for 4 samples"),
        ([1, 1, 1, 1], np.eye(4), "no replicates"),
        ([1, 1, 1, 1], np.array([[1, 0, 1], [1, 0, 1], [1, 1, 0], [1, 1, 0]]), "combinations"),
        ([1, 1, 1, 1], np.array([[1, 0]] * 4), "combinations of others, or all zero"),
        ([1, 1, 1, 1], np.ones((3, 1)), "a row for each of 4 samples"),
    ],
)
def test_what_leaves_no_dispersion_is_refused(size, design, said):
    with pytest.raises(BadInput, match=said):
        gene_wise_dispersions(np.ones((2, 4)), np.array(size, float), design)


def test_one_sample_has_no_replicates():
    with pytest.raises(BadInput, match="no replicates"):
        gene_wise_dispersions(np.ones((2, 1)), np.ones(1))


def test_dispersions_that_do_not_fall_with_the_mean_get_a_local_trend_and_a_notice():
    mean_G = np.linspace(1, 1000, 50)
    trend = dispersion_trend.fit(mean_G, 0.001 * mean_G)
    assert trend.kind == "local"
    assert "local" in trend.notice
    assert np.isfinite(trend.at(np.array([1e-3, 1, 1e6]))).all()
    assert dispersion_trend.fit(mean_G, 0.001 * mean_G, "local").notice == ""


def test_a_mean_trend_leaves_a_thousandth_out_at_each_end():
    alpha_G = np.concatenate([[5.0], np.full(1998, 0.25), [3e-6]])
    trend = dispersion_trend.fit(np.ones(2000), alpha_G, "mean")
    assert trend.at(np.array([3.0, 9.0])).tolist() == pytest.approx([0.25, 0.25], rel=1e-12)


def test_genes_that_only_count_have_no_trend():
    with pytest.raises(BadInput, match="no gene varies more than counting"):
        dispersion_trend.fit(np.ones(4), np.array([1e-8, 1e-7, np.nan, 1e-6]))
    with pytest.raises(BadInput, match="only two genes"):
        dispersion_trend.fit(np.array([1.0, 2]), np.array([0.1, 0.2]), "local")
    with pytest.raises(BadOption, match="spline"):
        dispersion_trend.fit(np.ones(4), np.ones(4), "spline")


def test_the_curve_is_the_quadratic_where_the_data_are_one():
    x = np.linspace(-2, 3, 40)
    curve = locfit.fit(x, 1 + 2 * x - 0.5 * x * x, np.exp(x))
    at = np.array([-5.0, -2, 0.3, 3, 7])
    np.testing.assert_allclose(curve.at(at), 1 + 2 * at - 0.5 * at * at, rtol=1e-6)


def test_a_curve_of_few_points_or_of_ties_is_finite():
    one = locfit.fit(np.array([2.0]), np.array([0.5]), np.array([3.0]))
    assert one.at(np.array([1.0, 2, 9])).tolist() == pytest.approx([0.5] * 3)
    tied = locfit.fit(np.array([1.0] * 8 + [2, 3]), np.arange(10.0), np.ones(10))
    assert np.isfinite(tied.at(np.linspace(0, 4, 9))).all()
