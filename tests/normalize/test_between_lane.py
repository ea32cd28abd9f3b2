"""Samples come to a common scale or distribution as EDASeq brings them there."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import between_lane, rank_medians, within_lane

from .edaseq_answers import (
    SIXTH,
    answer,
    in_chunks,
    kept_counts,
    kept_genes,
    marioni_or_mini,
)

WAYS = ("full", "median", "upper")


@pytest.mark.parametrize("name", ["mini", "marioni"])
def test_it_is_edaseqs(oracle, within, name):
    x, genes = marioni_or_mini(oracle, name)
    for which in WAYS:
        golden = oracle(f"golden/{name}/edaseq_between_{which}.csv.gz").T.to_numpy()
        within(between_lane.apply(x, between_lane.fit(x, which)), golden)
    level = within_lane.apply(x, within_lane.fit(genes["gc"]), rounded=True)
    both = between_lane.apply(level, between_lane.fit(level), rounded=True)
    golden = oracle(f"golden/{name}/edaseq_within_full_between_full.csv.gz").T.to_numpy()
    np.testing.assert_array_equal(both, golden)


def test_it_is_edaseqs_on_counts_with_ties_and_zeros(within):
    x = kept_counts()
    for which in ("median", "upper"):
        state = between_lane.fit(x, which)
        within(between_lane.apply(x[SIXTH], state), answer("between", which))
    offset = between_lane.apply(x[SIXTH], between_lane.fit(x, "median"), offset=True)
    within(offset, answer("offset", "median"))


@pytest.mark.parametrize("which", WAYS)
def test_halves_are_rounded_as_in_r(which):
    x = kept_counts()
    rounded = between_lane.apply(x[SIXTH], between_lane.fit(x, which), rounded=True)
    np.testing.assert_array_equal(rounded, answer("rounded", f"between_{which}"))


def test_within_and_then_between_is_edaseqs_pipeline():
    level = within_lane.apply(kept_counts(), within_lane.fit(kept_genes()["gc"]), rounded=True)
    both = between_lane.apply(level, between_lane.fit(level), rounded=True)
    np.testing.assert_array_equal(both[SIXTH], answer("rounded", "both"))


@pytest.mark.parametrize("which", WAYS)
def test_chunks_and_sparse_give_what_the_whole_gives(which):
    x = kept_counts()
    state = between_lane.fit(x, which)
    whole = between_lane.apply(x, state)
    for kind in (sp.csr_matrix, np.asarray):
        chunked = between_lane.fit_streamed(in_chunks(x, 5, kind), which)
        np.testing.assert_array_equal(chunked.target_G, state.target_G)
        assert chunked.mean_level == state.mean_level
        parts = list(between_lane.apply_streamed(in_chunks(x, 5, kind), state))
        assert len(parts) == 4
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("n", [17, 18])
@pytest.mark.parametrize("values", ["counts", "normalized", "far apart"])
def test_medians_found_in_many_passes_are_those_of_one(monkeypatch, n, values):
    x = kept_counts()[:n]
    if values != "counts":
        x = np.sqrt(x * np.linspace(0.5, 1.7, n)[:, None])
    if values == "far apart":
        x = np.exp(3 * x)
    target = between_lane.fit(x).target_G
    passes = []

    def chunks():
        passes.append(1)
        return in_chunks(x)()

    monkeypatch.setattr(rank_medians, "_KEPT_ELEMENTS", 1000)
    monkeypatch.setattr(rank_medians, "_STEPS", 8)
    np.testing.assert_array_equal(between_lane.fit_streamed(chunks).target_G, target)
    assert 2 < len(passes) < 20
    np.testing.assert_array_equal(target, np.median(np.sort(x, axis=1), axis=0))


def test_new_samples_are_brought_to_the_frozen_scale():
    x = kept_counts()
    old, new = x[:12], x[12:]
    full = between_lane.apply(new, between_lane.fit(old))
    target = between_lane.fit(old).target_G
    np.testing.assert_array_equal(np.sort(full, axis=1), np.tile(target, (len(new), 1)))
    mean = np.median(old, axis=1).mean()
    median = between_lane.apply(new, between_lane.fit(old, "median"))
    np.testing.assert_allclose(np.median(median, axis=1), mean, rtol=1e-14)
    for which in WAYS:
        state = between_lane.fit(old, which)
        alone = between_lane.apply(new[2:3], state)
        np.testing.assert_array_equal(alone, between_lane.apply(new, state)[2:3])


@pytest.mark.parametrize(("which", "level"), [("median", "median"), ("upper", "upper quartile")])
def test_a_sample_whose_level_is_zero_is_named(which, level):
    x = kept_counts()[:3].copy()
    state = between_lane.fit(x, which)
    x[1, 20:] = 0
    names = ["kidney", "liver", "heart"]
    said = f"sample liver: its {level} is zero"
    with pytest.raises(BadInput, match=said):
        between_lane.fit(x, which, samples=names)
    with pytest.raises(BadInput, match=said):
        between_lane.apply(x, state, samples=names)
    full = between_lane.apply(x, between_lane.fit(x))
    assert full.any()
    assert np.isfinite(full).all()


def test_one_sample_and_constant_samples_stay():
    x = kept_counts()[:1]
    for which in WAYS:
        np.testing.assert_array_equal(between_lane.apply(x, between_lane.fit(x, which)), x)
    same = np.full((3, 20), 7.0)
    for which in WAYS:
        np.testing.assert_array_equal(between_lane.apply(same, between_lane.fit(same, which)), same)


def test_other_genes_and_unknown_ways_are_refused():
    x = kept_counts()
    with pytest.raises(BadInput, match=r"there are 20 genes, the fit had 180"):
        between_lane.apply(x[:, :20], between_lane.fit(x))
    with pytest.raises(BadOption, match=r"'loess'.*full, median or upper"):
        between_lane.fit(x, "loess")
    for which in WAYS:
        with pytest.raises(BadInput, match="no samples"):
            between_lane.fit_streamed(lambda: iter([]), which)
