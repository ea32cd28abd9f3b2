"""Drift measures: sampling and another mix of cells are not drift, a shift is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_1samp, norm, uniform

from levelseq.validate.c2st import separability
from levelseq.validate.composition import kind_ranks, matched_pairs
from levelseq.validate.drift import Prototypes, latent_shift
from levelseq.validate.drift_measures import (
    QUALITY,
    Reference,
    embedding_measures,
    quality_measures,
)
from levelseq.validate.gene_means import (
    gene_scale,
    relative_ratios,
    spread,
    standout,
    unseen_standouts,
)
from levelseq.validate.ks import ks_shift, signed_ks
from levelseq.validate.mmd import mmd
from levelseq.validate.psi import psi

KINDS = np.array([[0.0, 0, 0], [8, 0, 0], [0, 8, 0]])
LOG_LIBRARY = np.array([7.0, 8.0, 9.0])


def cells(random: np.random.Generator, kinds: list[int], each: int) -> np.ndarray:
    return np.concatenate([KINDS[k] + random.normal(size=(each, 3)) for k in kinds])


def quality(random: np.random.Generator, kinds: list[int], each: int, depth: float) -> np.ndarray:
    """Libraries that differ between kinds; genes follow counts, no mitochondrial share."""
    log = np.repeat(LOG_LIBRARY[kinds], each) + random.normal(depth, 0.5, each * len(kinds))
    counts = np.round(np.exp(log))
    return np.stack([counts, np.round(counts**0.8), np.full(len(counts), np.nan)], axis=1)


@pytest.fixture(scope="module")
def prototypes() -> Prototypes:
    anchors = cells(np.random.default_rng(0), [0, 1, 2], 50)
    return Prototypes.of(anchors, np.zeros(3))


@pytest.fixture(scope="module")
def reference() -> Reference:
    random = np.random.default_rng(0)
    anchors = cells(random, [0, 1, 2], 200)
    return Reference.of(anchors, np.zeros(3), quality(random, [0, 1, 2], 200, 0.0))


def test_a_batch_like_the_anchors_has_not_drifted(prototypes: Prototypes) -> None:
    random = np.random.default_rng(1)
    shifts = [latent_shift(cells(random, [0, 1, 2], 40), prototypes) for _ in range(50)]
    assert np.mean(shifts) < 0.3


def test_another_mix_of_kinds_is_not_drift(prototypes: Prototypes) -> None:
    random = np.random.default_rng(2)
    shifts = [latent_shift(cells(random, [1, 1, 1, 2], 40), prototypes) for _ in range(50)]
    assert np.mean(shifts) < 0.3


def test_a_shift_is_measured_in_standard_deviations_of_a_kind(prototypes: Prototypes) -> None:
    moved = cells(np.random.default_rng(3), [0, 1, 2], 100) + np.array([1.2, 0, 0])
    assert latent_shift(moved, prototypes) == pytest.approx(1.2, abs=0.25)


def test_a_shift_in_a_dimension_that_is_noise_to_the_model_does_not_count() -> None:
    anchors = cells(np.random.default_rng(0), [0, 1, 2], 50)
    moved = cells(np.random.default_rng(3), [0, 1, 2], 100) + np.array([0, 0, 1.2])
    sure = latent_shift(moved, Prototypes.of(anchors, np.zeros(3)))
    unsure = latent_shift(moved, Prototypes.of(anchors, np.array([0, 0, 100.0])))
    assert unsure < 0.3 < sure


def test_too_few_cells_say_nothing(prototypes: Prototypes, reference: Reference) -> None:
    assert np.isnan(latent_shift(KINDS[[0, 1, 2]], prototypes))
    few = KINDS[[0, 1, 2]]
    assert all(np.isnan(v) for v in embedding_measures(few, reference).values())
    own = quality(np.random.default_rng(0), [0, 1, 2], 1, 3.0)
    assert all(np.isnan(v) for v in quality_measures(few, own, reference).values())


def test_every_measure_sees_a_shift_and_no_other_mix(reference: Reference) -> None:
    mixed, moved = [], []
    for seed in range(10):
        random = np.random.default_rng([4, seed])
        other = cells(random, [1, 1, 1, 2], 60)
        far = cells(random, [0, 1, 2], 80) + np.array([1.0, 0, 0])
        mixed.append(
            embedding_measures(other, reference)
            | quality_measures(other, quality(random, [1, 1, 1, 2], 60, 0.0), reference)
        )
        moved.append(
            embedding_measures(far, reference)
            | quality_measures(far, quality(random, [0, 1, 2], 80, 0.5), reference)
        )
    for name in ("latent", "mmd", "c2st", "n_counts", "n_genes", "psi"):
        assert max(abs(f[name]) for f in mixed) < min(f[name] for f in moved), name
    assert np.mean([f["n_counts"] for f in moved]) == pytest.approx(1.0, abs=0.15)
    assert np.isnan(moved[0]["pct_mito"])
    assert set(QUALITY) < set(moved[0])


def test_classifier_and_mmd_see_a_change_of_spread_that_the_shift_does_not(
    reference: Reference,
) -> None:
    random = np.random.default_rng(5)
    wide = np.concatenate([KINDS[k] + random.normal(0, 2, (100, 3)) for k in range(3)])
    kind = np.repeat([0, 1, 2], 100)
    narrow = np.concatenate([KINDS[k] + random.normal(size=(100, 3)) for k in range(3)])
    again = np.concatenate([KINDS[k] + random.normal(size=(100, 3)) for k in range(3)])
    centred = [x - KINDS[kind] for x in (wide, narrow, again)]
    assert separability(centred[0], kind, centred[1], kind) > 0.8
    assert separability(centred[2], kind, centred[1], kind) < 0.4
    assert mmd(centred[0], kind, centred[1], kind) > 3 * mmd(centred[2], kind, centred[1], kind)


def test_mmd_is_that_of_its_definition() -> None:
    random = np.random.default_rng(6)
    x, y = random.normal(size=(60, 2)), random.normal(1, 1, size=(60, 2))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / 4))

    own = sum(kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j)
    other = sum(kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j)
    cross = np.mean([kernel(a, b) for a in x for b in y])
    expected = np.sqrt((own + other) / (60 * 59) - 2 * cross)
    kind = np.zeros(60, dtype=int)
    assert mmd(x, kind, y, kind) == pytest.approx(expected)


def test_ks_is_scipys_and_signed() -> None:
    random = np.random.default_rng(7)
    rank = norm.cdf(random.normal(1, 1, 300))
    distance = signed_ks(rank)
    assert distance == pytest.approx(ks_1samp(rank, uniform.cdf).statistic)
    assert signed_ks(1 - rank) == pytest.approx(-distance)
    assert ks_shift(distance, 300) == pytest.approx(1.0, abs=0.15)
    assert ks_shift(2 * norm.cdf(-0.75 / 2) - 1, 300) == pytest.approx(-0.75)
    assert np.isfinite(ks_shift(1.0, 300))


def test_psi_is_that_of_deciles() -> None:
    even = (np.arange(1000) + 0.5) / 1000
    assert psi(even) == pytest.approx(0.0)
    p = np.repeat([0.5, 100.0], 5)
    p /= p.sum()
    assert psi(even[500:]) == pytest.approx(((p - 0.1) * np.log(p / 0.1)).sum())


def test_ranks_are_within_kinds_and_pairs_are_equally_many_of_each() -> None:
    random = np.random.default_rng(8)
    batch, reference = np.repeat([0, 1], [900, 100]), np.repeat([0, 1, 2], [100, 900, 50])
    x, y = random.normal(10.0 * batch), random.normal(10.0 * reference)
    rank = kind_ranks(x, batch, y, reference)
    assert len(rank) == 1000
    assert rank.mean() == pytest.approx(0.5, abs=0.05)
    assert kind_ranks(np.ones(9), np.zeros(9, int), np.ones(9), np.zeros(9, int)) == pytest.approx(
        0.5
    )
    own, other = matched_pairs(batch, reference, 1000, random)
    assert np.bincount(batch[own]).tolist() == [100, 100]
    assert np.bincount(reference[other]).tolist() == [100, 100]


def test_the_spread_of_genes_is_without_what_counting_gives() -> None:
    random = np.random.default_rng(9)
    expected = np.full(2000, 80.0)
    assert spread(random.poisson(expected), expected) < 0.04
    shifted = random.poisson(expected * np.exp(random.normal(0, 0.3, 2000)))
    assert spread(shifted, expected) == pytest.approx(0.3, abs=0.03)
    assert np.isnan(spread(shifted, np.full(2000, 10.0)))


def test_few_genes_stand_out_however_much_all_of_them_move() -> None:
    random = np.random.default_rng(10)
    own = np.where(np.arange(1000) < 50, 3.0, 1.0)
    expected = np.full(1000, 500.0)

    def run(sd: float, lot: float) -> np.ndarray:
        shift = random.normal(0, sd, 1000) * own
        shift[500:510] += lot
        return relative_ratios(random.poisson(expected * np.exp(shift)), expected)

    history = np.array([run(0.2, 0.0) for _ in range(10)])
    past, scale = unseen_standouts(history), gene_scale(history)
    assert scale[:50].mean() > 2 * scale[50:].mean()
    assert standout(run(0.6, 0.0), scale) < 1.5 * past.max()
    assert standout(run(0.2, 2.0), scale) > 1.5 * past.max()
    assert np.isnan(standout(np.full(1000, np.nan), scale))
    assert standout(run(0.02, 0.0), scale) < past.min()
