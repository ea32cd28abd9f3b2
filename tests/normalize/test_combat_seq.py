"""ComBat-seq gives sva's integers, and to new samples what the fit's samples got."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import combat_seq
from levelseq.normalize.combat_seq_shrinkage import drawn_genes
from levelseq.normalize.compiled import kernel
from levelseq.normalize.gene_blocks import gene_blocks
from levelseq.normalize.negative_binomial_tail import SMALL, size_terms
from levelseq.normalize.packing import pack, unpack
from levelseq.normalize.quantile_map import map_quantiles
from levelseq.normalize.r_random import RRandom

R = Path(__file__).parents[1] / "golden" / "r"


def adjusted(x, batch, *, group=None, covariates=None, **options):
    state = combat_seq.fit(x, batch, group=group, covariates=covariates, **options)
    return combat_seq.apply(x, batch, state, group=group, covariates=covariates)


def is_m(column):
    return (column == "M").to_numpy(float)


@pytest.fixture(scope="module")
def study():
    """The counts beside the R script, samples x genes, and their table."""
    counts = pd.read_csv(R / "counts.csv", index_col=0).T
    return counts, pd.read_csv(R / "samples.csv", index_col=0).loc[counts.index]


def given(samples, name):
    """What the R script gives ComBat_seq for each of its answers."""
    known = {
        "plain": {},
        "group": {"group": samples["condition"].to_numpy()},
        "covariates": {
            "group": samples["condition"].to_numpy(),
            "covariates": np.column_stack([is_m(samples["sex"]), samples["age"]]),
        },
        "shrink": {
            "group": samples["condition"].to_numpy(),
            "shrink": True,
            "shrink_genes": 30,
            "seed": 4,
        },
    }
    return known[name]


@pytest.mark.parametrize("name", ["plain", "group", "covariates", "shrink"])
def test_the_integers_are_svas(study, name):
    counts, samples = study
    golden = pd.read_csv(R / f"combat_seq_{name}.csv", index_col=0).T.loc[counts.index]
    ours = adjusted(counts.to_numpy(), samples["batch"].to_numpy(), **given(samples, name))
    assert ours.dtype == np.int64
    assert (golden.to_numpy() != counts.to_numpy()).mean() > 0.5
    np.testing.assert_array_equal(ours, golden)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        *[("mini", n) for n in ("nogroup", "group", "covar_cond", "group_covar_sex")],
        *[("mini", n) for n in ("group_fullmodF", "group_shrink")],
        *[("marioni", n) for n in ("nogroup", "group")],
    ],
)
def test_the_integers_are_those_of_the_oracles(oracle, shared, data, name):
    counts = oracle(f"data/{data}/counts.csv.gz").T
    samples = pd.read_csv(shared / "oracles" / "data" / data / "samples.csv", index_col=0)
    samples = samples.loc[counts.index]
    condition = samples["condition"].to_numpy()
    second = (np.arange(len(samples)) % 2).astype(float)
    options = {
        "nogroup": {},
        "group": {"group": condition},
        "covar_cond": {"covariates": (condition == np.unique(condition)[1]).astype(float)},
        "group_covar_sex": {"group": condition, "covariates": second},
        "group_fullmodF": {"group": condition, "full_model": False},
        "group_shrink": {
            "group": condition,
            "shrink": True,
            "shrink_dispersion": True,
            "shrink_genes": 50,
            "seed": 1,
        },
    }[name]
    golden = oracle(f"golden/{data}/combatseq_{name}.csv.gz").T.loc[counts.index]
    ours = adjusted(counts.to_numpy(), samples["batch"].to_numpy(), **options)
    np.testing.assert_array_equal(ours, golden)


def test_counts_are_mapped_as_rs_quantiles():
    maps = pd.read_csv(R / "combat_seq_maps.csv", index_col=0)
    mapped = map_one_by_one(*(maps[c].to_numpy(float) for c in maps.columns[:5]))
    assert (mapped != maps["count"]).sum() > 300
    np.testing.assert_array_equal(mapped, maps["mapped"])


def map_one_by_one(count, old, phi_old, new, phi_new):
    @kernel
    def each(count, old, phi_old, new, phi_new, terms, out):
        for i in range(len(count)):
            sizes = 1.0 / phi_old[i], 1.0 / phi_new[i]
            size_terms(sizes[0], terms[0])
            size_terms(sizes[1], terms[1])
            one = slice(i, i + 1)
            places = count[one], old[one], new[one]
            map_quantiles(*places, *sizes, terms[0], terms[1], out[one])

    out = np.empty(len(count))
    each(count, old, phi_old, new, phi_new, np.empty((2, SMALL + 1)), out)
    return out


def test_a_count_whose_new_mean_is_far_away_is_still_mapped():
    mapped = map_one_by_one(
        *np.array(
            [
                [7.0, 20.0, 5.0, 3.0, 9.0, 900.0],
                [9.0, 20.0, 5.0, 1e6, 9.0, 2.0],
                [0.4, 1e-9, 2.0, 0.1, 0.1, 3.0],
                [1e15, 1e-12, 1e-8, 1e-6, 0.0, 5.0],
                [0.4, 1e-9, 9.0, 1e-8, 0.1, 3.0],
            ]
        )
    )
    assert np.isfinite(mapped).all()
    assert (mapped == np.floor(mapped)).all()
    assert mapped[0] > 1e14
    assert (mapped[1:5] == 1).all()


def test_a_sample_alone_gets_what_it_got_in_the_fit(study):
    counts, samples = study
    x, batch = counts.to_numpy(), samples["batch"].to_numpy()
    for name in ("plain", "group", "covariates"):
        options = given(samples, name)
        state = combat_seq.fit(x, batch, **options)
        whole = combat_seq.apply(x, batch, state, **options)
        for i in (0, 7, 17):
            one = {key: value[[i]] for key, value in options.items()}
            alone = combat_seq.apply(x[[i]], batch[[i]], state, **one)
            np.testing.assert_array_equal(alone, whole[[i]])


def test_a_new_sample_of_twice_the_depth_is_mapped_by_the_frozen_genes(study):
    counts, samples = study
    x, batch = counts.to_numpy(), samples["batch"].to_numpy()
    state = combat_seq.fit(x, batch)
    one = combat_seq.apply(x[[3]], batch[[3]], state)
    twice = combat_seq.apply(2 * x[[3]], batch[[3]], state)
    ratio = twice.sum() / one.sum()
    assert 1.9 < ratio < 2.1
    np.testing.assert_array_equal(twice[:, ~state.adjusted_G], 2 * x[[3]][:, ~state.adjusted_G])


def test_batches_come_closer(study):
    counts, samples = study
    x, batch = counts.to_numpy(), samples["batch"].to_numpy()
    state = combat_seq.fit(x, batch)
    ours = combat_seq.apply(x, batch, state)

    def spread(values):
        values = values[:, state.adjusted_G]
        share = np.log2((values + 0.5) / values.sum(axis=1, keepdims=True))
        return pd.DataFrame(share).groupby(batch).mean().var().mean()

    assert spread(ours) < 0.2 * spread(x)


def test_the_order_of_samples_genes_blocks_and_threads_changes_nothing(study, monkeypatch):
    counts, samples = study
    x, options = counts.to_numpy(), given(samples, "group")
    batch, group = samples["batch"].to_numpy(), options["group"]
    whole = adjusted(x, batch, group=group)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(
        adjusted(x[order], batch[order], group=group[order]), whole[order]
    )
    np.testing.assert_array_equal(adjusted(sp.csr_matrix(x), batch, group=group), whole)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    np.testing.assert_array_equal(adjusted(x, batch, group=group), whole)
    state = combat_seq.fit_blocks(few_at_a_time(x), len(x), combat_seq.Columns(batch, group))
    np.testing.assert_array_equal(combat_seq.apply(x, batch, state, group=group), whole)
    one = combat_seq.fit(x, batch, group=group)
    np.testing.assert_array_equal(state.dispersion_BG, one.dispersion_BG)


def few_at_a_time(x, size=13):
    def read():
        for start in range(0, x.shape[1], size):
            genes = slice(start, min(start + size, x.shape[1]))
            yield genes, np.ascontiguousarray(x[:, genes].T).astype(np.uint32)

    return read


def test_blocks_are_applied_as_the_whole(study):
    counts, samples = study
    x, batch = counts.to_numpy(), samples["batch"].to_numpy()
    state = combat_seq.fit(x, batch)
    library = combat_seq.libraries(few_at_a_time(x), len(x), state)
    np.testing.assert_array_equal(library, x[:, state.adjusted_G].sum(axis=1))
    rows = combat_seq.coded(state.coding, len(x), combat_seq.Columns(batch))
    parts = [
        combat_seq.apply_block(x_gS, genes, rows, library, state)
        for genes, x_gS in few_at_a_time(x)()
    ]
    np.testing.assert_array_equal(np.vstack(parts).T, combat_seq.apply(x, batch, state))
    assert sum(len(x_gS) for _, x_gS in gene_blocks(x)()) == x.shape[1]


def test_the_state_is_saved_and_read_back(study):
    counts, samples = study
    x, batch = counts.to_numpy(), samples["batch"].to_numpy()
    options = given(samples, "covariates")
    state = combat_seq.fit(x, batch, **options)
    arrays = {}
    facts = json.loads(json.dumps(pack(state, "", arrays)))
    again = unpack(combat_seq.State, facts, "", arrays)
    np.testing.assert_array_equal(
        combat_seq.apply(x, batch, again, **options), combat_seq.apply(x, batch, state, **options)
    )


def test_genes_without_counts_in_a_batch_are_left_and_constant_ones_are_finite(study):
    counts, samples = study
    x, batch = counts.to_numpy().copy(), samples["batch"].to_numpy()
    x[:, 5], x[:, 6], x[:, 7] = 0, 12, np.where(batch == "x", 0, 30)
    ours, state = adjusted(x, batch), combat_seq.fit(x, batch)
    np.testing.assert_array_equal(ours[:, [5, 7]], x[:, [5, 7]])
    assert not state.adjusted_G[[5, 7]].any()
    assert "no counts in some batch" in state.notices()[0]
    assert (ours >= 0).all()
    assert (np.abs(ours[:, 6] - 12) < 12).all()
    assert all(np.isfinite(v).all() for v in vars(state).values() if isinstance(v, np.ndarray))


def test_genes_to_compare_with_are_drawn_as_r_draws_them():
    drawn = drawn_genes(40, 6, 2, 11)
    stream = RRandom(11)
    for row in range(80):
        others = np.delete(np.arange(40), row % 40)
        np.testing.assert_array_equal(drawn[row // 40, row % 40], others[stream.sample(39, 6)])


def test_shrinkage_by_all_genes_is_shrinkage_by_a_draw_of_all(study):
    counts, samples = study
    x, batch = counts.to_numpy()[:, :60], samples["batch"].to_numpy()
    n = int(combat_seq.fit(x, batch).adjusted_G.sum())
    every = combat_seq.fit(x, batch, shrink=True, shrink_dispersion=True)
    drawn = combat_seq.fit(x, batch, shrink=True, shrink_dispersion=True, shrink_genes=n - 1)
    np.testing.assert_allclose(every.gamma_BG, drawn.gamma_BG, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(every.dispersion_G, drawn.dispersion_G, rtol=1e-9)


X = np.random.default_rng(2).poisson(20, (6, 8))
BATCH = np.array(["a", "a", "a", "b", "b", "b"])
NAMES = [f"patient{i}" for i in range(6)]


def changed(place, value):
    x = X.astype(float)
    x[place] = value
    return x


@pytest.mark.parametrize(
    ("x", "batch", "more", "said"),
    [
        (X, ["a"] * 6, {}, "column 'batch': has one batch"),
        (X, ["a"] * 5 + ["b"], {}, "column 'batch': batch b has one sample.*patient5"),
        (X, BATCH, {"group": list("ppqrrs")}, "confounded"),
        (X, BATCH, {"group": BATCH}, "'group'.*confounded"),
        (X, BATCH, {"covariates": (BATCH == "a").astype(float)}, "'covariate 1'.*confounded"),
        (X, BATCH, {"covariates": np.ones(6)}, "'covariate 1'.*same for every sample"),
        (X, BATCH, {"covariates": np.array([1, 2, np.nan, 1, 2, 3])}, "'covariate 1'.*no value"),
        (X, BATCH, {"group": ["p", None, "q", "p", "q", "q"]}, "'group'.*no value"),
        (X, ["a", None, "a", "b", "b", "b"], {}, "'batch'.*no value"),
        (X, BATCH[:5], {}, "'batch'.*not one value for each of 6"),
        (changed((2, 3), 4.5), BATCH, {}, "sample patient2: a value is not a whole number"),
        (changed((2, 3), -1), BATCH, {}, "sample patient2: a count is negative"),
        (changed((2, 3), np.nan), BATCH, {}, "sample patient2: a value is NaN"),
        (changed(4, 0), BATCH, {}, "sample patient4: no counts"),
        (changed(slice(3, 6), 0), BATCH, {}, "batch b: has no counts at all"),
        (X[:, :1], BATCH, {}, "1 gene has counts in every batch.*two"),
        (np.where(BATCH == "a", 1, 0)[:, None] * [[9, 0]] + [[0, 3]], BATCH, {}, "1 gene has"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_one_line(x, batch, more, said):
    with pytest.raises(BadInput, match=said) as error:
        combat_seq.fit(x, batch, samples=NAMES, **more)
    assert "\n" not in str(error.value)


def test_options_that_would_not_be_read_are_refused():
    with pytest.raises(BadOption, match="--shrink-dispersion: is read with shrink alone"):
        combat_seq.fit(X, BATCH, shrink_dispersion=True)
    with pytest.raises(BadOption, match="--shrink-genes: is 8, and there are 7 other genes"):
        combat_seq.fit(X, BATCH, shrink=True, shrink_genes=8)


def test_new_samples_that_the_fit_does_not_know_are_refused():
    group = np.array(list("pqpqpq"))
    state = combat_seq.fit(X, BATCH, group=group)
    with pytest.raises(BadInput, match="'batch': 'c' was not in the fit, which had a, b"):
        combat_seq.apply(X[:1], ["c"], state, group=["p"])
    with pytest.raises(BadInput, match="'group': 'r' was not in the fit"):
        combat_seq.apply(X[:1], ["a"], state, group=["r"])
    with pytest.raises(BadInput, match="'group': is needed"):
        combat_seq.apply(X[:1], ["a"], state)
    with pytest.raises(BadInput, match="has 7 genes, the fit had 8"):
        combat_seq.apply(X[:1, :7], ["a"], state, group=["p"])
    with pytest.raises(BadInput, match="sample new: no counts"):
        combat_seq.apply(0 * X[:1], ["a"], state, group=["p"], samples=["new"])
