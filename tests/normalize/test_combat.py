"""ComBat equals sva's, keeps its parameters for later samples, and refuses what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import combat
from levelseq.normalize.combat import Design
from levelseq.normalize.design import nearly_confounded
from levelseq.normalize.moments import Moments

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


@pytest.mark.parametrize(
    ("design", "said"),
    [
        (Design(["b1"] * 12), "has one batch, 'b1', and combat needs two.*tmm or log1p_cpm"),
        (
            Design(BATCH, {"drug": np.repeat(["yes", "no"], [8, 4])}),
            "'drug': is confounded with batch: 'no' is in b3, 'yes' is in b1 b2",
        ),
        (Design(BATCH, {"age": np.repeat([1e-9, 5e-9, 2e-9], 4)}), "'age'.*constant in every"),
        (Design(BATCH, {"copy": BATCH}, "lab"), "'copy': is confounded with lab"),
        (
            Design(BATCH, {"p": ["u", "v"] * 6, "q": ["m", "n"] * 6}),
            "columns p, q: say the same of every sample",
        ),
        (Design(BATCH, {"drug": ["yes", None] * 6}), "'drug': has no value for 6 of 12"),
        (Design([*BATCH[:11], np.nan]), "'batch': has no value for 1 of 12"),
        (Design(BATCH[:5]), "one value for each of 12"),
    ],
)
def test_a_design_that_cannot_be_fitted_is_refused_in_one_line(design, said):
    with pytest.raises(BadInput, match=said) as refused:
        combat.fit(X, design)
    assert "\n" not in str(refused.value)


def test_covariates_confounded_only_together_are_named():
    batch = np.repeat(["b1", "b2", "b3", "b4"], 3)
    p, q = np.tile([0.0, 1.0, 2.0], 4), np.tile([0.0, 1.0, 2.0], 4) + np.repeat([0, 1, 0, 1], 3)
    with pytest.raises(BadInput, match="columns p, q: are together confounded with batch"):
        combat.fit(X, Design(batch, {"p": p, "q": q}))


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


def test_nan_is_refused():
    x = X.copy()
    x[5, 5] = np.nan
    with pytest.raises(BadInput, match="row 5: a value is NaN"):
        combat.fit(x, Design(BATCH))


def test_nearly_confounded_is_told():
    drug = np.array(["yes"] + ["no"] * 15 + ["yes"] * 8)
    design = Design(np.repeat(BATCH, 2), {"drug": drug, "sex": ["f", "m"] * 12}).checked(24)
    assert nearly_confounded(design, design.coding()) == ["drug"]
