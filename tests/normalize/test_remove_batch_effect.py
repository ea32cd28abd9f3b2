"""What is left without batch effects is limma 3.54's answer, or a line that says why not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput
from levelseq.normalize import cpm, remove_batch_effect, voom
from levelseq.normalize.remove_batch_effect import apply, fit, fit_streamed

from . import limma_answers as r

SAMPLES = r.table("samples")
KEPT = r.dummies("condition")


def values():
    return cpm.apply(r.counts(), r.library(), cpm.fit(r.library()))


def levelled(x_SG, batch=None, *, batch2=None, covariates_SK=None, **options):
    state = fit(x_SG, batch, batch2=batch2, covariates_SK=covariates_SK, **options)
    return apply(x_SG, batch, state, batch2=batch2, covariates_SK=covariates_SK)


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_batch_with_and_without_a_design_is_limmas(oracle, within, name):
    x = oracle(f"golden/{name}/edger_cpm_log_tmm.csv.gz").T
    samples = oracle(f"data/{name}/samples.csv").loc[x.index]
    x = x.to_numpy()
    golden = {
        what: oracle(f"golden/{name}/limma_rbe_{what}.csv.gz").T.to_numpy()
        for what in ("batch", "batch_design")
    }
    within(levelled(x, samples["batch"]), golden["batch"])
    kept = r.dummies("condition", samples=samples)
    within(levelled(x, samples["batch"], design_SK=kept), golden["batch_design"])


def test_two_batches_and_a_covariate_are_limmas(oracle, within):
    x = oracle("golden/mini/edger_cpm_log_tmm.csv.gz").T
    samples = oracle("data/mini/samples.csv").loc[x.index]
    x, kept = x.to_numpy(), r.dummies("condition", samples=samples)
    nested = levelled(x, samples["batch"], batch2=samples["site"], design_SK=kept)
    within(nested, oracle("golden/mini/limma_rbe_batch2_site.csv.gz").T)
    aged = levelled(x, samples["batch"], covariates_SK=samples["age"], design_SK=kept)
    within(aged, oracle("golden/mini/limma_rbe_batch_age_design.csv.gz").T)


def test_microarrays_are_limmas(oracle, within):
    x = oracle("data/bladder/expr.csv.gz").T
    samples = oracle("data/bladder/samples.csv").loc[x.index].astype(str)
    kept = r.dummies("cancer", samples=samples)
    golden = oracle("golden/bladder/limma_rbe_batch.csv.gz").T
    within(levelled(x.to_numpy(), samples["batch"], design_SK=kept), golden)


def test_nested_batches_and_a_covariate_of_the_kept_counts(within):
    state = fit(
        values(),
        SAMPLES["batch"],
        batch2=SAMPLES["site"],
        covariates_SK=SAMPLES["age"],
        design_SK=KEPT,
    )
    assert state.not_estimable == ("site 's1'",)
    assert "site 's1'" in state.notices()[0]
    ours = apply(
        values(), SAMPLES["batch"], state, batch2=SAMPLES["site"], covariates_SK=SAMPLES["age"]
    )
    within(ours[:, ::4], r.answer("rbe_nested_age"))


def test_missing_values_stay_missing_and_the_rest_is_limmas(within):
    x_GS = values().T.copy()
    x_GS = values().T.copy()
    by_column = x_GS.ravel(order="F")
    by_column[(np.arange(1, x_GS.size + 1) * 31) % 7 == 0] = np.nan
    x_GS = by_column.reshape(x_GS.shape, order="F")
    x_GS[4, (SAMPLES["batch"] == "y").to_numpy()] = np.nan
    ours = levelled(x_GS.T, SAMPLES["batch"], batch2=SAMPLES["sex"], design_SK=KEPT)[:, ::4]
    theirs = r.answer("rbe_missing")
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.isnan(theirs).sum() > 50
    within(ours[~np.isnan(ours)], theirs[~np.isnan(theirs)])


def test_precision_weights_are_used_as_by_limma(within):
    design_SK = r.dummies("batch", "condition", "age")
    state = voom.fit(r.counts(), r.library(), design_SK)
    e_SG, weight_SG = voom.apply(r.counts(), r.library(), state, design_SK)
    ours = levelled(e_SG, SAMPLES["batch"], design_SK=KEPT, weight=weight_SG)
    within(ours[:, ::4], r.answer("rbe_weights"))


def test_a_sample_of_weight_zero_tells_nothing_of_its_batch():
    weight = np.ones(len(SAMPLES))
    weight[3] = 0
    without = fit(np.delete(values(), 3, axis=0), SAMPLES["batch"].drop(index="s03"))
    state = fit(values(), SAMPLES["batch"], weight=weight)
    np.testing.assert_allclose(state.shift_BG, without.shift_BG, atol=1e-12)
    moved = apply(values(), SAMPLES["batch"], state)[3]
    np.testing.assert_allclose(moved, values()[3] - state.shift_BG[0], atol=1e-12)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_chunks_give_what_the_whole_gives(kind):
    x, options = values(), {"covariates_SK": SAMPLES["age"], "design_SK": KEPT}
    whole = fit(x, SAMPLES["batch"], **options)
    streamed = fit_streamed(r.in_chunks(x, 5, kind), len(x), SAMPLES["batch"], **options)
    np.testing.assert_allclose(streamed.shift_BG, whole.shift_BG, atol=1e-12)
    np.testing.assert_allclose(streamed.coefficient_KG, whole.coefficient_KG, atol=1e-12)
    for n in (len(x) - 1, len(x) + 1):
        with pytest.raises(BadInput, match="the values of others"):
            fit_streamed(r.in_chunks(x), n, np.arange(n) % 2)


def test_a_new_sample_of_a_known_batch_is_moved_by_the_frozen_shift():
    x, batch = values(), SAMPLES["batch"].to_numpy()
    state = fit(x[:14], batch[:14], design_SK=KEPT[:14])
    alone = apply(x[15:16], batch[15:16], state)
    z = state.batches.index("z")
    np.testing.assert_allclose(alone[0], x[15] - state.shift_BG[z], atol=1e-12)
    again = apply(x, batch, state)
    np.testing.assert_array_equal(again[15], alone[0])
    np.testing.assert_array_equal(again[:14], apply(x[:14], batch[:14], state))


def test_an_unknown_batch_is_named():
    state = fit(values(), SAMPLES["batch"])
    with pytest.raises(BadInput, match=r"column 'batch': batch 'w' was not in the fit.*x, y, z"):
        apply(values()[:2], ["x", "w"], state)
    with pytest.raises(BadInput, match="column 'batch': is needed"):
        apply(values()[:2], None, state)


def test_without_batch_effects_all_batches_have_one_mean_and_the_kept_stays():
    x = values()
    ours = levelled(x, SAMPLES["batch"])
    means = pd.DataFrame(ours).groupby(SAMPLES["batch"].to_numpy()).mean()
    np.testing.assert_allclose(means.to_numpy(), np.tile(means.mean(), (3, 1)), atol=1e-10)
    constant = np.full((len(x), 2), 7.0)
    np.testing.assert_allclose(levelled(constant, SAMPLES["batch"]), constant, atol=1e-12)


def test_a_batch_that_the_design_tells_is_refused_and_its_levels_named():
    x = values()
    site = pd.DataFrame({"intercept": 1, "site_s2": (SAMPLES["site"] == "s2").astype(int)})
    said = r"column 'batch': batches \('x', 'y'\) and 'z' differ as the design does of .*site_s2"
    with pytest.raises(BadInput, match=said):
        fit(x, SAMPLES["batch"], design_SK=site)
    with pytest.raises(BadInput, match=r"column 'batch'.* 'x' and 'y' and 'z'"):
        fit(x, SAMPLES["batch"], design_SK=r.dummies("batch"))
    with pytest.raises(BadInput, match="covariates: follow from the design"):
        fit(x, SAMPLES["batch"], covariates_SK=KEPT[:, 1], design_SK=KEPT)


def test_batches_that_only_together_tell_the_design_are_refused():
    a, b = np.tile([0, 0, 1, 1], 4), np.tile([0, 1, 0, 1], 4)
    kept = np.column_stack([np.ones(16), a + b])
    with pytest.raises(BadInput, match="columns 'batch', 'batch2': together cannot be told"):
        fit(values()[:16], a, batch2=b, design_SK=kept)


def test_a_confounded_batch_can_be_left_in_as_limma_does(within):
    x = values()
    state = fit(x, SAMPLES["batch"], design_SK=r.dummies("batch"), allow_confounded=True)
    within(apply(x, SAMPLES["batch"], state), x)
    assert state.not_estimable == ("batch 'x'", "batch 'y'")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no batch and no covariate"),
        ({"batch": ["x"] * 18}, "column 'batch': has one batch, 'x'"),
        ({"batch": SAMPLES["batch"][:3]}, "column 'batch': has shape"),
        ({"batch": [None, *SAMPLES["batch"][1:]]}, "column 'batch': has no value for 1 of 18"),
        ({"covariates_SK": [np.nan] * 18}, "covariates, sample in row 0: a value is NaN"),
        ({"covariates_SK": np.ones((4, 2))}, "covariates: have shape"),
        ({"batch": SAMPLES["batch"], "weight": [1, 2]}, "weights: have shape"),
    ],
)
def test_what_cannot_be_removed_is_said(options, said):
    with pytest.raises(BadInput, match=said):
        remove_batch_effect.fit(values(), **options)


def test_an_infinite_value_is_named_even_beside_missing_ones():
    x = values()
    x[0, 0], x[2, 1] = np.nan, -np.inf
    names = list(SAMPLES.index)
    with pytest.raises(BadInput, match="sample s02: a value is NaN or infinite"):
        fit(x, SAMPLES["batch"], samples=names)
    with pytest.raises(BadInput, match="has 3 genes, the fit had 200"):
        apply(values()[:, :3], SAMPLES["batch"], fit(values(), SAMPLES["batch"]))


def test_numbers_as_batches_are_in_the_order_of_numbers():
    batch = np.repeat([10, 2, 1], 6)
    assert fit(values(), batch).batches == ("1", "2", "10")
