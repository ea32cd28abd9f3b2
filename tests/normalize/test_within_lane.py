"""GC content and length go out of each sample as EDASeq takes them out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import within_lane

from .edaseq_answers import (
    SIXTH,
    answer,
    in_chunks,
    kept_counts,
    kept_genes,
    marioni_or_mini,
)

WAYS = ("full", "loess", "median", "upper")


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_it_is_edaseqs(oracle, within, name):
    x, genes = marioni_or_mini(oracle, name)
    gc = genes["gc"]

    def golden(file):
        return oracle(f"golden/{name}/edaseq_within_{file}.csv.gz").T.to_numpy()

    for which in WAYS:
        within(within_lane.apply(x, within_lane.fit(gc, which)), golden(f"gc_{which}"))
    for which in ("full", "loess"):
        offset = within_lane.apply(x, within_lane.fit(gc, which), offset=True)
        within(offset, golden(f"gc_{which}_offset"))
    rounded = within_lane.apply(x, within_lane.fit(gc), rounded=True)
    np.testing.assert_array_equal(rounded, golden("gc_full_round"))
    within(within_lane.apply(x, within_lane.fit(gc, n_bins=20)), golden("gc_full_bins20"))
    within(within_lane.apply(x, within_lane.fit(genes["length"])), golden("length_full"))


def test_it_is_edaseqs_on_counts_with_ties_and_zeros(within):
    x, genes = kept_counts()[SIXTH], kept_genes()
    gc = genes["gc"]
    for file, name, state in [
        ("within_shape", "full", within_lane.fit(gc)),
        ("within_shape", "loess", within_lane.fit(gc, "loess")),
        ("within_scale", "median", within_lane.fit(gc, "median")),
        ("within_scale", "upper", within_lane.fit(gc, "upper")),
        ("within_scale", "seven", within_lane.fit(gc, "full", 7)),
    ]:
        within(within_lane.apply(x, state), answer(file, name))
    length = within_lane.apply(x, within_lane.fit(genes["length"]), offset=True)
    within(length, answer("offset", "length"))


@pytest.mark.parametrize("which", WAYS)
def test_halves_are_rounded_as_in_r(which):
    x = kept_counts()[SIXTH]
    rounded = within_lane.apply(x, within_lane.fit(kept_genes()["gc"], which), rounded=True)
    np.testing.assert_array_equal(rounded, answer("rounded", which))


@pytest.mark.parametrize("which", WAYS)
def test_a_sample_alone_in_chunks_or_sparse_gets_the_same_values(which):
    x, state = kept_counts(), within_lane.fit(kept_genes()["gc"], which)
    whole = within_lane.apply(x, state)
    np.testing.assert_array_equal(within_lane.apply(x[4:5], state), whole[4:5])
    np.testing.assert_array_equal(within_lane.apply(sp.csr_matrix(x), state), whole)
    chunks = list(within_lane.apply_streamed(in_chunks(x), state))
    assert len(chunks) == 3
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


@pytest.mark.parametrize("which", WAYS)
def test_what_gc_did_to_the_counts_goes(which):
    rng = np.random.default_rng(3)
    gc = rng.uniform(0.3, 0.7, 3000)
    depth = rng.lognormal(4, 0.5, 3000)
    bent = rng.poisson(depth * np.exp(np.outer([-4, 0, 5], gc - 0.5))).astype(float)
    for slope, row in zip([-4, 0, 5], within_lane.apply(bent, within_lane.fit(gc, which))):
        positive = row > 0
        left = np.polyfit(gc[positive], np.log(row[positive]), 1)[0]
        assert abs(left) < 0.15 * abs(slope) + 0.3


def test_a_bin_whose_median_is_zero_is_left_as_it_is():
    gc = np.arange(40) / 40
    x = np.tile(np.arange(1.0, 41.0), (2, 1))
    x[0, 10:17] = 0
    out = within_lane.apply(x, within_lane.fit(gc, "median", 4))
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out[0, 10:20], x[0, 10:20])
    assert (out[1, 10:20] != x[1, 10:20]).all()


def test_a_gene_beyond_the_trend_is_edaseqs_or_on_its_level_end():
    gc = np.linspace(0.3, 0.6, 201)
    x = 50 + 10 * np.sin(np.arange(201.0))[None]
    x[0, -1] = 1000
    edaseq, held = (
        within_lane.apply(x, within_lane.fit(gc, "loess", hold_ends=hold)) for hold in (False, True)
    )
    np.testing.assert_array_equal(edaseq[0, :-1], held[0, :-1])
    below = x[0, x[0] <= np.quantile(x[0], 0.99)]
    assert edaseq[0, -1] == pytest.approx(1000 * np.exp(np.median(np.log(below))), rel=1e-12)
    assert held[0, -1] == pytest.approx(1000, rel=0.5)


@pytest.mark.parametrize("which", WAYS)
def test_a_feature_that_cannot_be_used_is_refused(which):
    with pytest.raises(BadInput, match=r"no value for 2 of 5 genes: BRCA1, gene 4"):
        within_lane.fit(
            [0.1, np.nan, 0.3, 0.4, np.inf], which, genes=["a", "BRCA1", "b", "c", "gene 4"]
        )
    with pytest.raises(BadInput, match="same for all genes"):
        within_lane.fit(np.full(100, 0.5), which)
    with pytest.raises(BadInput, match="shape"):
        within_lane.fit([], which)
    if which != "loess":
        with pytest.raises(BadInput, match=r"so many genes have the same value.*fewer bins"):
            within_lane.fit(np.repeat([0.1, 0.2, 0.3], 50), which)
        with pytest.raises(BadOption, match="1 bins"):
            within_lane.fit(np.arange(50), which, 1)


def test_full_needs_two_genes_in_each_bin():
    with pytest.raises(BadInput, match=r"of 10 genes a bin has 1, and 2 are needed"):
        within_lane.fit(np.arange(10), "full", 10)
    x = np.arange(1.0, 11.0)[None]
    out = within_lane.apply(x, within_lane.fit(np.arange(10), "median", 10))
    assert np.isfinite(out).all()


def test_samples_that_have_no_level_or_trend_are_named():
    x = kept_counts()[:3].copy()
    x[1, 5:] = 0
    x[1, :2] = 7
    gc, names = kept_genes()["gc"], ["kidney", "liver", "heart"]
    for which, said in [
        ("median", "its median is zero"),
        ("upper", "its upper quartile is zero"),
        ("loess", "has counts of too few genes"),
    ]:
        with pytest.raises(BadInput, match=f"sample liver: {said}"):
            within_lane.apply(x, within_lane.fit(gc, which), samples=names)
    assert np.isfinite(within_lane.apply(x, within_lane.fit(gc))).all()
    empty = np.zeros_like(x)
    np.testing.assert_array_equal(within_lane.apply(empty, within_lane.fit(gc)), empty)


def test_other_genes_and_unknown_ways_are_refused():
    x, gc = kept_counts(), kept_genes()["gc"]
    with pytest.raises(BadInput, match=r"there are 20 genes, the fit had 180"):
        within_lane.apply(x[:, :20], within_lane.fit(gc))
    with pytest.raises(BadOption, match=r"'mean'.*full, loess, median or upper"):
        within_lane.fit(gc, "mean")
