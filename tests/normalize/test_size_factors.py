"""Size factors equal R's on the samples of the fit, and follow its definition on new ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput
from levelseq.normalize import log1p_cpm, median_of_ratios, size_factors, tmm
from levelseq.normalize.chunks import Chunk, in_memory

SETS = ("mini", "marioni")


def counts_of(oracle, name):
    return oracle(f"data/{name}/counts.csv.gz").T


def in_chunks(x, size=7):
    names = [f"s{i}" for i in range(len(x))]
    return lambda: iter(
        [Chunk(sp.csr_matrix(x[i : i + size]), names[i : i + size]) for i in range(0, len(x), size)]
    )


@pytest.mark.parametrize("name", SETS)
def test_median_of_ratios_is_deseq2s(oracle, within, name):
    counts = counts_of(oracle, name)
    golden = oracle(f"golden/{name}/deseq2_sf_ratio.csv.gz").loc[counts.index, "value"]
    state = median_of_ratios.fit(counts.to_numpy())
    within(median_of_ratios.apply(counts.to_numpy(), state), golden)


@pytest.mark.parametrize("name", SETS)
def test_tmm_is_edgers(oracle, within, name):
    counts = counts_of(oracle, name)
    golden = oracle(f"golden/{name}/edger_nf_TMM.csv.gz").loc[counts.index, "value"]
    state = tmm.fit(counts.to_numpy())
    within(tmm.apply(counts.to_numpy(), state), golden)


@pytest.mark.parametrize("name", SETS)
def test_cpm_by_tmm_is_edgers(oracle, within, name):
    counts = counts_of(oracle, name)
    golden = oracle(f"golden/{name}/edger_cpm_tmm.csv.gz").T.loc[counts.index]
    fit = size_factors.fit("tmm", in_memory(counts.to_numpy()))
    library = fit.state.reference_library
    values = log1p_cpm.values(counts.to_numpy(), fit.size_factor_S, library)
    within(np.expm1(values), golden.to_numpy())


@pytest.mark.parametrize("method", ["median_of_ratios", "tmm", "log1p_cpm"])
def test_chunks_and_sparse_give_what_the_whole_gives(oracle, method):
    x = counts_of(oracle, "mini").to_numpy()
    whole, chunked = (
        size_factors.fit(method, in_memory(x)),
        size_factors.fit(method, in_chunks(x)),
    )
    np.testing.assert_allclose(chunked.size_factor_S, whole.size_factor_S, rtol=1e-13)
    assert np.exp(np.log(whole.size_factor_S).mean()) == pytest.approx(1, abs=1e-12)
    again = size_factors.apply(in_chunks(x, 5), whole.state)
    np.testing.assert_allclose(again, whole.size_factor_S, rtol=1e-13)


def test_a_new_sample_is_measured_against_the_frozen_geometric_means(oracle):
    x = counts_of(oracle, "mini").to_numpy()
    state = median_of_ratios.fit(x[:20])
    positive = (x[:20] > 0).all(axis=0)
    means = np.exp(np.log(x[:20, positive]).mean(axis=0))
    expected = []
    for new in x[20:]:
        ratio = new[positive] / means
        expected.append(np.exp(np.median(np.log(ratio[ratio > 0]))))
    np.testing.assert_allclose(median_of_ratios.apply(x[20:], state), expected, rtol=1e-12)


def test_a_new_sample_by_tmm_is_compared_with_the_frozen_reference_sample(oracle):
    x = counts_of(oracle, "mini").to_numpy()
    state = tmm.fit(x[:20])
    alone, among = tmm.apply(x[20:21], state), tmm.apply(x[18:], state)
    assert alone[0] == among[2]


def test_samples_that_the_fit_has_not_seen_stand_to_the_reference_as_in_edger(oracle):
    x = counts_of(oracle, "mini").to_numpy()
    golden = oracle("golden/mini/edger_nf_TMM.csv.gz")["value"].to_numpy()
    whole = tmm.fit(x)
    reference = int(np.flatnonzero((x == whole.reference_G).all(axis=1))[0])
    compared = 0
    for left_out in range(len(x)):
        state = tmm.fit(np.delete(x, left_out, axis=0))
        if not (state.reference_G == whole.reference_G).all():
            continue
        assert state.log_mean_factor != whole.log_mean_factor
        new, own = tmm.apply(x[[left_out, reference]], state)
        assert new / own == pytest.approx(golden[left_out] / golden[reference], rel=1e-12)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("size", [1, 2])
def test_few_samples_have_the_factors_that_edger_gives(size):
    x = np.array([[10, 20, 30, 5], [10, 20, 30, 5]])[:size]
    np.testing.assert_array_equal(tmm.apply(x, tmm.fit(x)), np.ones(size))


def test_a_gene_without_counts_changes_no_reference_sample(oracle):
    x = counts_of(oracle, "mini").to_numpy()
    padded = np.hstack([x, np.zeros((len(x), 500), dtype=x.dtype)])
    np.testing.assert_array_equal(tmm.apply(padded, tmm.fit(padded)), tmm.apply(x, tmm.fit(x)))


def test_when_every_gene_has_a_zero_the_line_names_the_way_out():
    x = 1 + np.arange(16).reshape(4, 4)
    np.fill_diagonal(x, 0)
    with pytest.raises(BadInput, match=r"every gene has a zero.*tmm.*log1p_cpm"):
        median_of_ratios.fit(x)


@pytest.mark.parametrize("method", [median_of_ratios, tmm])
def test_a_sample_without_counts_is_named(method):
    x = np.array([[4, 5], [0, 0], [3, 2]])
    with pytest.raises(BadInput, match=r"sample liver: has no counts"):
        method.fit(x, ["kidney", "liver", "heart"])
    with pytest.raises(BadInput, match="sample liver"):
        method.apply(x, method.fit(x[[0, 2]]), ["kidney", "liver", "heart"])


def test_a_sample_that_shares_no_gene_with_the_reference_is_named():
    with pytest.raises(BadInput, match=r"sample b: shares no gene"):
        tmm.fit(np.array([[5, 9, 0, 0], [0, 0, 1, 99], [5, 9, 0, 0], [5, 7, 0, 0]]), list("abcd"))


def test_a_cell_without_counts_has_size_factor_one_by_library():
    x = np.array([[4, 5], [0, 0], [3, 6]])
    factors = log1p_cpm.apply(x, log1p_cpm.fit(x))
    np.testing.assert_allclose(factors, [1, 1, 1], rtol=1e-14)


def test_log1p_cpm_is_its_definition():
    x = np.array([[1, 3], [10, 90]])
    fit = size_factors.fit("log1p_cpm", in_memory(x))
    values = log1p_cpm.values(sp.csr_matrix(x), fit.size_factor_S, fit.state.reference_library)
    assert sp.issparse(values)
    np.testing.assert_allclose(
        values.toarray(), np.log1p(np.array([[2.5e5, 7.5e5], [1e5, 9e5]])), rtol=1e-14
    )


@pytest.mark.parametrize(
    ("bad", "said"), [(-1.0, "negative"), (np.nan, "NaN"), (np.inf, "infinite")]
)
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_what_is_no_count_is_refused_and_its_sample_named(bad, said, kind):
    x = np.ones((3, 4))
    x[1, 2] = bad
    for method in (median_of_ratios, tmm, log1p_cpm):
        with pytest.raises(BadInput, match=rf"sample b: .*{said}"):
            method.fit(kind(x), ["a", "b", "c"])
