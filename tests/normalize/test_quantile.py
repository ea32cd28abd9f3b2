"""All samples get one distribution, as limma gives it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput
from levelseq.normalize import quantile

from .edaseq_answers import SIXTH, all_counts, answer, in_chunks


def log_cpm(oracle, name):
    return oracle(f"golden/{name}/edger_cpm_log_tmm.csv.gz").T.to_numpy()


def untied(x):
    """Where a value stands alone in its row."""
    return np.array([np.unique(row, return_counts=True)[1][_place(row)] == 1 for row in x])


def _place(row):
    return np.unique(row, return_inverse=True)[1]


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_it_is_limmas(oracle, within, name):
    x = log_cpm(oracle, name)
    golden = oracle(f"golden/{name}/limma_quantile_ties.csv.gz").T.to_numpy()
    within(quantile.apply(x, quantile.fit(x)), golden)
    counts = oracle(f"data/{name}/counts.csv.gz").T.to_numpy()
    golden = oracle(f"golden/{name}/limma_quantile_counts_ties.csv.gz").T.to_numpy()
    within(quantile.apply(counts, quantile.fit(counts)), golden)


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_without_ties_it_is_limmas_for_values_that_stand_alone(oracle, within, name):
    x = log_cpm(oracle, name)
    golden = oracle(f"golden/{name}/limma_quantile_noties.csv.gz").T.to_numpy()
    ours, alone = quantile.apply(x, quantile.fit(x, ties=False)), untied(x)
    within(ours[alone], golden[alone])
    np.testing.assert_allclose(np.sort(ours, axis=1), np.sort(golden, axis=1), rtol=1e-12)


def test_missing_values_stay_missing_and_the_rest_is_limmas(within):
    x = np.log2(all_counts() + 1)
    flat = np.arange(1, x.size + 1).reshape(x.shape)
    x[flat * 31 % 7 == 0] = np.nan
    ours, golden = quantile.apply(x, quantile.fit(x))[SIXTH], answer("quantile_missing")
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(x[SIXTH]))
    np.testing.assert_array_equal(np.isnan(golden), np.isnan(x[SIXTH]))
    within(ours[~np.isnan(ours)], golden[~np.isnan(golden)])


@pytest.mark.parametrize("kind", [sp.csr_matrix, np.asarray])
@pytest.mark.parametrize("ties", [True, False])
def test_chunks_and_sparse_give_what_the_whole_gives(kind, ties):
    x = all_counts()
    state = quantile.fit(x, ties=ties)
    chunked = quantile.fit_streamed(in_chunks(x, 5, kind), ties=ties)
    np.testing.assert_allclose(chunked.mean_quantile_G, state.mean_quantile_G, rtol=1e-14)
    whole = quantile.apply(x, state)
    parts = list(quantile.apply_streamed(in_chunks(x, 5, kind), state))
    assert len(parts) == 4
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(quantile.apply(kind(x[7:8]), state), whole[7:8])


def test_new_samples_get_the_frozen_distribution():
    rng = np.random.default_rng(0)
    old, new = rng.normal(5, 2, (6, 301)), rng.normal(9, 1, (2, 301))
    state = quantile.fit(old)
    np.testing.assert_allclose(state.mean_quantile_G, np.sort(old, axis=1).mean(axis=0))
    out = quantile.apply(new, state)
    np.testing.assert_array_equal(np.argsort(out, axis=1), np.argsort(new, axis=1))
    np.testing.assert_array_equal(np.sort(out, axis=1), np.tile(state.mean_quantile_G, (2, 1)))


def test_equal_values_stay_equal_or_go_in_the_order_of_genes():
    x = np.array([[3.0, 1.0, 3.0, -0.0, 0.0], [10.0, 20.0, 30.0, 40.0, 50.0]])
    means = np.sort(x, axis=1).mean(axis=0)
    ties = quantile.apply(x, quantile.fit(x))[0]
    np.testing.assert_allclose(
        ties, [means[3:].mean(), means[2], means[3:].mean(), *[means[:2].mean()] * 2]
    )
    order = quantile.apply(x, quantile.fit(x, ties=False))[0]
    np.testing.assert_allclose(order, means[[3, 2, 4, 0, 1]])


def test_one_sample_one_gene_and_constant_samples():
    x = all_counts()[:1]
    np.testing.assert_array_equal(quantile.apply(x, quantile.fit(x)), x)
    gene = np.array([[1.0], [2.0], [6.0]])
    np.testing.assert_array_equal(quantile.apply(gene, quantile.fit(gene)), np.full((3, 1), 3.0))
    flat = np.array([[0.0] * 4, [2.0] * 4])
    np.testing.assert_array_equal(quantile.apply(flat, quantile.fit(flat)), np.ones((2, 4)))


def test_what_has_no_quantiles_is_refused_and_its_sample_named():
    x, names = np.arange(12.0).reshape(3, 4), ["kidney", "liver", "heart"]
    state = quantile.fit(x)
    for bad, said in [
        ([np.inf, 1, 2, 3], "a value is infinite"),
        ([np.nan, np.nan, 2, np.nan], "has values for one gene or none"),
    ]:
        x[1] = bad
        with pytest.raises(BadInput, match=f"sample liver: {said}"):
            quantile.fit(x, samples=names)
        with pytest.raises(BadInput, match=f"sample liver: {said}"):
            quantile.apply(x, state, samples=names)
    with pytest.raises(BadInput, match=r"there are 3 genes, the fit had 4"):
        quantile.apply(np.ones((2, 3)), state)
    with pytest.raises(BadInput, match="not an array of shape"):
        quantile.fit(np.empty((0, 4)))
    with pytest.raises(BadInput, match="no samples"):
        quantile.fit_streamed(lambda: iter([]))
