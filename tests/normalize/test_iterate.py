"""Iterated size factors are DESeq2 1.38's to 2e-6.

R's optimizer stops where a gain is below 2e-9 of the likelihood, and takes slopes by differences of
it, which have noise; the same optimizer ends within 1e-10 of it on `mini` and 1e-6 on `marioni`.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput
from levelseq.normalize import iterate
from levelseq.normalize.chunks import in_memory

from . import deseq_answers as r


@pytest.mark.parametrize(("name", "tolerance"), [("mini", 1e-9), ("marioni", 2e-6)])
def test_size_factors_are_deseq2s(oracle, name, tolerance):
    x = oracle(f"data/{name}/counts.csv.gz").T
    golden = oracle(f"golden/{name}/deseq2_sf_iterate.csv.gz").loc[x.index, "value"].to_numpy()
    ours = iterate.fitted(in_memory(x.to_numpy())).native_S
    np.testing.assert_allclose(ours, golden, rtol=tolerance)


@pytest.fixture(scope="module")
def fit():
    return iterate.fitted(r.in_chunks(sp.csr_matrix(r.counts())))


def test_size_factors_of_the_kept_counts(fit):
    np.testing.assert_allclose(fit.native_S, r.size("iterate"), rtol=2e-6)
    np.testing.assert_array_equal(fit.library_S, r.counts().sum(axis=1))
    assert np.log(fit.native_S).mean() == pytest.approx(0, abs=1e-12)


def test_samples_one_by_one_are_near_and_alone_as_among_others(fit):
    x = r.counts()
    among = iterate.apply(x, fit.state)
    np.testing.assert_allclose(among, fit.native_S, rtol=5e-3)
    assert np.log(among).mean() == pytest.approx(0, abs=1e-12)
    assert iterate.apply(x[6:7], fit.state)[0] == among[6]
    streamed = iterate.measured(r.in_chunks(sp.csr_matrix(x), 7), fit.state)
    np.testing.assert_array_equal(streamed.native_S, among)


def test_a_sample_of_twice_the_expectation_has_twice_the_size(fit):
    low = np.round(1e6 * fit.state.mean_G)[None]
    one, two = iterate.apply(np.concatenate([low, 2 * low]), fit.state)
    assert two / one == pytest.approx(2, rel=1e-6)


def test_what_has_no_size_is_refused(fit):
    x = r.counts()
    x[3] = 0
    with pytest.raises(BadInput, match="sample s3: has no counts"):
        iterate.fitted(r.in_chunks(x))
    with pytest.raises(BadInput, match="row 3: has no counts of any gene"):
        iterate.apply(x, fit.state)
    with pytest.raises(BadInput, match="no replicates"):
        iterate.fit(x[:1])
    with pytest.raises(BadInput, match="no gene varies"):
        iterate.fit(np.tile(x[:1], (5, 1)))
    with pytest.raises(BadInput, match="sample s0: a count is not a whole number"):
        iterate.fitted(r.in_chunks(x[:3] + 0.5))
