"""ComBat equals sva's, keeps its parameters for later samples, and refuses what it cannot do."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import combat
from levelseq.normalize.combat import Design
from levelseq.normalize.design import check_design
from levelseq.normalize.moments import Moments
from levelseq.normalize.moments_missing import MissingMoments

GOLDEN = [
    *[(name, "nomod", (), {}) for name in ("mini", "marioni", "bladder")],
    *[(name, "mod", ("condition",), {}) for name in ("mini", "marioni")],
    ("bladder", "mod", ("cancer",), {}),
    ("mini", "mod_age", ("condition", "age"), {}),
    *[(name, "meanonly", (), {"mean_only": True}) for name in ("mini", "marioni", "bladder")],
    *[(name, "meanonly_mod", ("condition",), {"mean_only": True}) for name in ("mini", "marioni")],
    ("mini", "ref", (), {"reference_batch": "b2"}),
    ("marioni", "ref", (), {"reference_batch": "R2"}),
    ("bladder", "ref1", (), {"reference_batch": "1"}),
    ("mini", "ref_mod", ("condition",), {"reference_batch": "b2"}),
    ("marioni", "ref_mod", ("condition",), {"reference_batch": "R2"}),
    ("mini", "meanonly_ref", (), {"reference_batch": "b2", "mean_only": True}),
    ("marioni", "meanonly_ref", (), {"reference_batch": "R2", "mean_only": True}),
]
NONPARAMETRIC = [
    *[(name, "nomod", (), {}) for name in ("mini", "marioni", "bladder")],
    *[(name, "mod", ("condition",), {}) for name in ("mini", "marioni")],
    *[(name, "meanonly", (), {"mean_only": True}) for name in ("mini", "marioni")],
    ("mini", "ref", (), {"reference_batch": "b2"}),
    ("marioni", "ref", (), {"reference_batch": "R2"}),
]
R = Path(__file__).parents[1] / "golden" / "r"
KEPT = [
    ("par_mod_ref", ("condition", "age"), {"reference_batch": "y"}),
    ("nonpar_mod", ("condition", "age"), {"prior": "nonparametric"}),
    (
        "nonpar_meanonly_ref",
        (),
        {"prior": "nonparametric", "mean_only": True, "reference_batch": "y"},
    ),
    ("par_missing", ("condition", "age"), {"missing": True}),
    ("nonpar_missing", (), {"prior": "nonparametric", "missing": True}),
    ("par_missing_ref", ("condition", "age"), {"reference_batch": "y", "missing": True}),
]


def values_and_table(oracle, name):
    if name == "bladder":
        values = oracle("data/bladder/expr.csv.gz").T
    else:
        values = oracle(f"golden/{name}/combat_input.csv.gz").T
    return values, oracle(f"data/{name}/samples.csv").loc[values.index]


def design_of(table, columns=()):
    return Design(table["batch"].to_numpy(), {c: table[c].to_numpy() for c in columns})


@pytest.mark.parametrize(("name", "case", "columns", "options"), GOLDEN)
def test_the_answer_is_svas(oracle, within, name, case, columns, options):
    values, table = values_and_table(oracle, name)
    golden = oracle(f"golden/{name}/combat_par_{case}.csv.gz").T.loc[values.index]
    design = design_of(table, columns)
    state = combat.fit(values.to_numpy(), design, **options)
    within(combat.apply(values.to_numpy(), design, state), golden[values.columns])


@pytest.mark.parametrize(("name", "case", "columns", "options"), NONPARAMETRIC)
def test_the_nonparametric_answer_is_svas(oracle, within, name, case, columns, options):
    values, table = values_and_table(oracle, name)
    golden = oracle(f"golden/{name}/combat_nonpar_{case}.csv.gz").T.loc[values.index]
    values, design = values[golden.columns].to_numpy(), design_of(table, columns)
    assert len(golden.columns) >= 400
    state = combat.fit(values, design, prior="nonparametric", **options)
    within(combat.apply(values, design, state), golden)


def kept_input(missing=False):
    counts = pd.read_csv(R / "counts.csv", index_col=0).T
    table = pd.read_csv(R / "samples.csv", index_col=0).loc[counts.index]
    library = counts.sum(axis=1).to_numpy()[:, None]
    x = np.log2((counts.to_numpy()[:, :80] + 0.5) / (library + 1) * 1e6).round(10)
    if missing:
        sample, gene = np.indices(x.shape) + 1
        x[(7 * gene + 3 * sample) % 31 == 0] = np.nan
    return x, table


@pytest.mark.parametrize(("case", "columns", "options"), KEPT)
def test_answers_of_sva_that_are_kept_here(within, case, columns, options):
    missing = options.get("missing", False)
    x, table = kept_input(missing)
    golden = pd.read_csv(R / f"combat_{case}.csv", index_col=0).T.loc[table.index].to_numpy()
    state = combat.fit(x, design_of(table, columns), **options)
    out = combat.apply(x, design_of(table, columns), state, missing=missing)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(x))
    assert np.isnan(x).any() == missing
    within(out[~np.isnan(x)], golden[~np.isnan(x)])


def test_missing_values_of_chunks_are_those_of_the_whole():
    x, table = kept_input(missing=True)
    design = design_of(table, ("condition", "age")).checked(len(x))
    batches, coding = check_design(design)
    codes, z = design.batch_codes(batches), design.matrix(coding)
    parts = MissingMoments(len(batches), x.shape[1], z.shape[1])
    for start in range(0, len(x), 4):
        rows = slice(start, start + 4)
        parts.add(x[rows], codes[rows], z[rows])
    whole = combat.fit(x, design, missing=True)
    streamed = combat.fit_moments(parts, batches, coding)
    np.testing.assert_allclose(streamed.gamma_BG, whole.gamma_BG, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(streamed.delta_BG, whole.delta_BG, rtol=1e-9)


def test_without_a_missing_value_nothing_changes_that_may_be_missing():
    x, table = kept_input()
    design = design_of(table, ("condition", "age"))
    one, two = (
        combat.apply(x, design, combat.fit(x, design, missing=missing), missing=missing)
        for missing in (False, True)
    )
    np.testing.assert_allclose(one, two, rtol=1e-11)


@pytest.mark.parametrize("prior", ["parametric", "nonparametric"])
def test_a_gene_without_a_value_in_a_batch_is_left_in_it_and_levelled_in_the_others(prior):
    x, table = kept_input()
    design, y = design_of(table), (table["batch"] == "y").to_numpy()
    holes = x.copy()
    holes[y, 40] = np.nan
    state = combat.fit(holes, design, prior=prior, missing=True)
    out = combat.apply(holes, design, state, missing=True)
    assert state.adjusted_BG[:, 40].tolist() == [True, False, True]
    assert "1 of 80 genes have no value" in "".join(state.notices())
    np.testing.assert_array_equal(np.isnan(out), np.isnan(holes))
    gap = [abs(v[table["batch"] == "x", 40].mean() - v[table["batch"] == "z", 40].mean())
           for v in (holes, out)]  # fmt: skip
    assert gap[1] < gap[0]
    later = combat.apply(x, design, state)
    np.testing.assert_array_equal(later[y, 40], x[y, 40])
    by_reference = combat.fit(holes, design, prior=prior, missing=True, reference_batch="y")
    assert not by_reference.adjusted_BG[:, 40].any()


def test_a_gene_with_one_value_in_a_batch_takes_the_scale_of_the_others():
    x, table = kept_input()
    holes, y = x.copy(), np.flatnonzero(table["batch"] == "y")
    holes[y[1:], 40] = np.nan
    for prior in ("parametric", "nonparametric"):
        state = combat.fit(holes, design_of(table), prior=prior, missing=True)
        out = combat.apply(holes, design_of(table), state, missing=True)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(holes))
        assert state.delta_BG[1].min() <= state.delta_BG[1, 40] <= state.delta_BG[1].max()


def test_a_gene_that_cannot_tell_the_condition_is_left():
    x, table = kept_input()
    holes, treated = x.copy(), (table["condition"] == "b").to_numpy()
    holes[treated, 40] = np.nan
    design = design_of(table, ("condition",))
    state = combat.fit(holes, design, missing=True)
    assert not state.adjusted_BG[:, 40].any()
    out = combat.apply(holes, design, state, missing=True)
    np.testing.assert_array_equal(out[:, 40], holes[:, 40])


@pytest.mark.parametrize("size", [600, 1200])
def test_large_batches_have_a_nonparametric_answer_where_svas_products_underflow(size):
    rng = np.random.default_rng(size)
    batch = np.repeat(["a", "b"], size)
    x = rng.normal(5, 1, (2 * size, 60)) * np.where(batch == "a", 1, 1.5)[:, None]
    state = combat.fit(x, Design(batch), prior="nonparametric")
    out = combat.apply(x, Design(batch), state)
    assert np.isfinite(out).all()
    for b, rows in enumerate((slice(0, size), slice(size, None))):
        z = (x[rows] - state.grand_mean_G) / state.sd_G
        shift, scale = z.mean(axis=0), z.var(axis=0, ddof=1)
        for gene in range(60):
            others = np.arange(60) != gene
            squares = ((z[:, gene, None] - shift[others]) ** 2).sum(axis=0)
            log_like = -size / 2 * np.log(scale[others]) - squares / (2 * scale[others])
            weight = np.exp(log_like - log_like.max())
            expected = (weight * shift[others]).sum() / weight.sum()
            assert state.gamma_BG[b, gene] == pytest.approx(expected, abs=1e-10)
            expected = (weight * scale[others]).sum() / weight.sum()
            assert state.delta_BG[b, gene] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("prior", ["parametric", "nonparametric"])
def test_the_answer_does_not_depend_on_the_number_of_threads(monkeypatch, prior):
    rng = np.random.default_rng(7)
    x, batch = rng.normal(5, 1, (30, 2500)), np.repeat(["a", "b", "c"], 10)
    outs = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        state = combat.fit(x, Design(batch), prior=prior)
        outs.append(combat.apply(x, Design(batch), state))
    np.testing.assert_array_equal(*outs)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_matrix, np.asfortranarray])
def test_sparse_and_transposed_values_are_levelled_as_dense_ones(kind):
    rng = np.random.default_rng(8)
    x = rng.normal(5, 1, (24, 40)) * (rng.random((24, 40)) < 0.8)
    design = Design(np.repeat(["a", "b"], 12))
    dense = combat.apply(x, design, combat.fit(x, design))
    np.testing.assert_array_equal(combat.apply(kind(x), design, combat.fit(kind(x), design)), dense)


def test_an_outlier_as_first_value_costs_no_digits():
    rng = np.random.default_rng(9)
    x = rng.normal(5, 1, (2000, 3))
    x[0] = 1e6
    moments = Moments(1, 3, 0)
    moments.add(x, np.zeros(2000, dtype=int), np.zeros((2000, 0)))
    for gene in range(3):
        values = [Fraction(value) for value in x[:, gene]]
        mean = sum(values) / 2000
        exact = float(sum((value - mean) ** 2 for value in values))
        assert moments.xx_BG[0, gene] == pytest.approx(exact, rel=1e-11)


def test_an_unknown_prior_is_refused():
    with pytest.raises(BadOption, match="'flat' is not a prior"):
        combat.fit(X, Design(BATCH), prior="flat")


def test_uniform_genes_are_those_that_sva_leaves(oracle):
    values, table = values_and_table(oracle, "mini")
    state = combat.fit(values.to_numpy(), design_of(table))
    left = oracle("golden/mini/combat_uniform_genes.csv.gz").loc[values.columns, "rounded"] == 1
    assert left.any()
    np.testing.assert_array_equal(~state.adjusted_genes, left)
    assert f"{left.sum()} of 400 genes" in state.notices()[0]


def test_a_single_sample_batch_makes_it_mean_only_as_in_sva(oracle):
    values, table = values_and_table(oracle, "mini")
    table = table.copy()
    table.iloc[0, table.columns.get_loc("batch")] = "alone"
    state = combat.fit(values.to_numpy(), design_of(table))
    assert state.mean_only
    assert (state.delta_BG == 1).all()
    told = combat.fit(values.to_numpy(), design_of(table), mean_only=True)
    one, two = (combat.apply(values.to_numpy(), design_of(table), s) for s in (state, told))
    np.testing.assert_array_equal(one, two)
    assert "variances left" in state.notices()[-1]
    assert np.isfinite(one).all()
    assert (one[0] != values.to_numpy()[0]).any()


def test_later_samples_of_a_known_batch_get_its_frozen_parameters(oracle):
    values, table = values_and_table(oracle, "mini")
    design = design_of(table, ("condition",))
    state = combat.fit(values.to_numpy(), design)
    together = combat.apply(values.to_numpy(), design, state)
    rows = [3, 11, 20]
    alone = combat.apply(
        values.to_numpy()[rows], design_of(table.iloc[rows], ("condition",)), state
    )
    np.testing.assert_allclose(alone, together[rows], rtol=1e-14)


def test_a_new_batch_is_brought_to_the_frozen_mean_and_the_old_ones_stay(oracle):
    values, table = values_and_table(oracle, "mini")
    x, new = values.to_numpy(), (table["batch"] == "b4").to_numpy()
    state = combat.fit(x[~new], design_of(table[~new]))
    rng = np.random.default_rng(0)
    shifted = np.repeat(x[new], 4, axis=0) + rng.normal(0, 0.3, (4 * new.sum(), x.shape[1])) + 2.0
    design = Design(["later"] * len(shifted))
    out = combat.apply(shifted, design, state)
    genes = state.adjusted_genes
    before = np.abs(shifted.mean(axis=0) - state.grand_mean_G)[genes].mean()
    after = np.abs(out.mean(axis=0) - state.grand_mean_G)[genes].mean()
    assert before > 1.5
    assert after < 0.15 * before
    old = combat.apply(x[~new], design_of(table[~new]), state)
    mixed = combat.apply(
        np.vstack([x[~new], shifted]),
        Design([*table["batch"][~new], *design.batch]),
        state,
    )
    np.testing.assert_array_equal(mixed[: len(old)], old)


def test_a_new_batch_follows_the_definition_of_its_own_prior():
    rng = np.random.default_rng(1)
    x = rng.normal(5, 1, (40, 30))
    state = combat.fit(x, Design(np.repeat(["a", "b"], 20)), mean_only=True)
    later = rng.normal(7, 1, (10, 30))
    out = combat.apply(later, Design(["c"] * 10), state)
    shift = (later.mean(axis=0) - state.grand_mean_G) / state.sd_G
    prior = shift.var(ddof=1)
    shrunk = (prior * shift + shift.mean()) / (prior + 1)
    np.testing.assert_allclose(out, later - shrunk * state.sd_G, rtol=1e-12)


def test_one_new_sample_is_levelled_by_mean_and_nothing_is_nan(oracle):
    values, table = values_and_table(oracle, "mini")
    state = combat.fit(values.to_numpy(), design_of(table))
    out = combat.apply(values.to_numpy()[:1] + 3, Design(["later"]), state)
    assert np.isfinite(out).all()
    assert np.median(values.to_numpy()[:1] + 3 - out) > 1


def test_the_reference_batch_stays_to_the_bit(oracle):
    values, table = values_and_table(oracle, "mini")
    state = combat.fit(values.to_numpy(), design_of(table), reference_batch="b2")
    out = combat.apply(values.to_numpy(), design_of(table), state)
    here = (table["batch"] == "b2").to_numpy()
    np.testing.assert_array_equal(out[here], values.to_numpy()[here])
    assert (out[~here] != values.to_numpy()[~here]).any()


def test_moments_of_chunks_are_those_of_the_whole():
    rng = np.random.default_rng(2)
    x, z = rng.normal(1000, 0.01, (101, 7)), rng.normal(size=(101, 2))
    batch = rng.integers(0, 3, 101)
    whole, parts = Moments(3, 7, 2), Moments(3, 7, 2)
    whole.add(x, batch, z)
    for start in range(0, 101, 9):
        rows = slice(start, start + 9)
        parts.add(x[rows], batch[rows], z[rows])
    for b in range(3):
        expected = x[batch == b].var(axis=0) * (batch == b).sum()
        np.testing.assert_allclose(parts.xx_BG[b], expected, rtol=1e-7)
    np.testing.assert_allclose(parts.zx_BKG, whole.zx_BKG, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(parts.mean_BG, whole.mean_BG, rtol=1e-14)


def test_the_order_of_levels_does_not_matter(oracle):
    values, table = values_and_table(oracle, "mini")
    renamed = table.assign(condition=table["condition"].map({"control": "z", "treated": "a"}))
    one, two = (
        combat.apply(values.to_numpy(), d, combat.fit(values.to_numpy(), d))
        for d in (design_of(table, ("condition",)), design_of(renamed, ("condition",)))
    )
    np.testing.assert_allclose(one, two, rtol=1e-12)


BATCH = np.repeat(["b1", "b2", "b3"], 4)
X = np.random.default_rng(3).normal(5, 1, (12, 20))


def test_a_reference_batch_must_be_there_and_have_a_variance():
    with pytest.raises(BadOption, match=r"--reference-batch: no batch 'b9' .*b1, b2, b3"):
        combat.fit(X, Design(BATCH), reference_batch="b9")
    with pytest.raises(BadOption, match="'alone' has one sample"):
        combat.fit(X, Design(["alone", *BATCH[1:]]), reference_batch="alone")


def test_too_few_varying_genes_are_refused():
    flat = np.where(np.arange(20) < 1, X, 1.0)
    with pytest.raises(BadInput, match="1 of 20 genes vary in every batch"):
        combat.fit(flat, Design(BATCH))


def test_a_gene_that_the_condition_explains_wholly_is_left_and_never_nan():
    drug = np.array(["yes", "no"] * 6)
    x = X.copy()
    x[:, 0] = np.where(drug == "yes", 2.0, 3.0)
    design = Design(BATCH, {"drug": drug})
    state = combat.fit(x, design)
    out = combat.apply(x, design, state)
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out[:, 0], x[:, 0])
    assert state.adjusted_genes.sum() == 19


def test_new_samples_need_the_covariates_of_the_fit():
    drug = np.array(["yes", "no"] * 6)
    state = combat.fit(X, Design(BATCH, {"drug": drug}))
    with pytest.raises(BadInput, match="column 'drug': is needed"):
        combat.apply(X, Design(BATCH), state)
    with pytest.raises(BadInput, match="level 'maybe' was not in the fit"):
        combat.apply(X, Design(BATCH, {"drug": np.full(12, "maybe")}), state)
    with pytest.raises(BadInput, match="has 3 genes, the fit had 20"):
        combat.apply(X[:, :3], Design(BATCH, {"drug": drug}), state)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_that_is_not_said_to_be_missing_is_refused_and_infinity_always(bad):
    x = X.copy()
    x[5, 5] = bad
    with pytest.raises(BadInput, match="row 5: a value is NaN or infinite"):
        combat.fit(x, Design(BATCH))
    with pytest.raises(BadInput, match="row 5: a value is NaN or infinite"):
        combat.apply(x, Design(BATCH), combat.fit(X, Design(BATCH)))
    if bad == np.inf:
        with pytest.raises(BadInput, match="row 5: a value is NaN or infinite"):
            combat.fit(x, Design(BATCH), missing=True)
