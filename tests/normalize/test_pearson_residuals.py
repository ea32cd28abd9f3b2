"""Analytic Pearson residuals are their definition, and scanpy's where it defines them."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.pearson_residuals import apply, fit, fit_streamed

from . import limma_answers as r


def with_counts():
    x = r.counts()
    return x[:, x.sum(axis=0) > 0]


def by_definition(x, theta, clip):
    mean = np.outer(x.sum(axis=1), x.sum(axis=0)) / x.sum()
    return np.clip((x - mean) / np.sqrt(mean + mean**2 / theta), -clip, clip)


@pytest.mark.parametrize(("theta", "clip"), [(100.0, None), (10.0, 3.0), (np.inf, 1e9)])
def test_the_fits_own_residuals_are_the_definition(within, theta, clip):
    x = with_counts()
    ours = apply(x, fit(x, theta=theta, clip=clip))
    within(ours, by_definition(x, theta, np.sqrt(len(x)) if clip is None else clip))
    assert np.ptp(ours) > 2


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_they_are_scanpys(within, kind):
    experimental = pytest.importorskip("scanpy.experimental")
    x = with_counts()
    data = ad.AnnData(kind(x.astype(np.float64)))
    experimental.pp.normalize_pearson_residuals(data)
    within(apply(kind(x), fit(kind(x))), np.asarray(data.X))


def test_a_gene_or_sample_without_counts_gets_zero():
    x = r.counts()
    x[3] = 0
    empty_G = x.sum(axis=0) == 0
    ours = apply(x, fit(x))
    assert empty_G.any()
    assert np.isfinite(ours).all()
    assert (ours[3] == 0).all()
    assert (ours[:, empty_G] == 0).all()


def test_a_new_sample_is_held_against_the_frozen_shares():
    x = with_counts()
    state = fit(x[:12])
    alone = apply(x[14:15], state)
    np.testing.assert_array_equal(alone[0], apply(x, state)[14])
    mean = x[14].sum() * x[:12].sum(axis=0) / x[:12].sum()
    seen = mean > 0
    expected = (x[14] - mean)[seen] / np.sqrt(mean + mean**2 / 100)[seen]
    limit = np.sqrt(12)
    np.testing.assert_allclose(alone[0][seen], np.clip(expected, -limit, limit), rtol=1e-12)
    assert (alone[0][~seen] == 0).all()


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_chunks_give_what_the_whole_gives(kind):
    x = with_counts()
    whole, streamed = fit(x), fit_streamed(r.in_chunks(x, 5, kind))
    np.testing.assert_array_equal(streamed.share_G, whole.share_G)
    assert streamed.clip == whole.clip == pytest.approx(np.sqrt(len(x)))


def test_what_cannot_be_fitted_is_said():
    with pytest.raises(BadInput, match="no sample has counts"):
        fit(np.zeros((3, 2)))
    with pytest.raises(BadOption, match="theta"):
        fit(np.ones((3, 2)), theta=0)
    with pytest.raises(BadOption, match="clip"):
        fit(np.ones((3, 2)), clip=-1)
    with pytest.raises(BadInput, match="has 3 genes, the fit had 2"):
        apply(np.ones((3, 3)), fit(np.ones((3, 2))))
