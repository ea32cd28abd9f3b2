"""Which observations are held out of a challenger: a part of each batch, and of its donors all."""

import math

import numpy as np
import pytest

from levelseq.recalibrate.decision import surpassed
from levelseq.recalibrate.held_out import HeldOut, left_out

SEEDS = range(20)


def labels(*counts):
    """(S,) batches and donors of `(batch, donor, observations)`."""
    batch, donor = ([given[i] for given in counts for _ in range(given[2])] for i in (0, 1))
    return np.array(batch), np.array(donor)


def parted(batch, donor, seed, may=None):
    return left_out(batch, np.ones(len(batch), bool) if may is None else may, donor, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_large_and_a_small_donor_the_small_one_is_held_out(seed):
    batch, donor = labels(("a", "large", 900), ("a", "small", 100))
    out, rest = parted(batch, donor, seed)
    assert set(donor[out]) == {"small"}
    assert set(donor[rest]) == {"large"}


@pytest.mark.parametrize("seed", SEEDS)
def test_about_a_quarter_is_held_out_and_half_stays(seed):
    sizes = np.random.default_rng(seed).integers(5, 200, 8)
    batch, donor = labels(*(("a", f"d{i}", int(n)) for i, n in enumerate(sizes)))
    out, rest = parted(batch, donor, seed)
    assert 0 < len(out) <= len(batch) / 2
    assert not set(donor[out]) & set(donor[rest])


def test_not_always_the_same_donors_are_held_out():
    batch, donor = labels(*(("a", f"d{i}", 10 * (i + 1)) for i in range(5)))
    assert len({frozenset(donor[parted(batch, donor, seed)[0]]) for seed in SEEDS}) > 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_held_out_donor_is_in_no_batch_of_the_rest(seed):
    batch, donor = labels(*((b, f"d{i}", 20) for b in "abc" for i in range(6)))
    may = batch != "c"
    out, rest = parted(batch, donor, seed, may)
    assert set(batch[out]) == {"a", "b"}
    assert not set(donor[out]) & set(donor[rest])
    assert set(batch[rest]) == {"a", "b", "c"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_batch_of_one_donor_gives_cells_and_loses_a_quarter_alone(seed):
    batch, donor = labels(("a", "x", 50), ("a", "y", 50), ("b", "x", 80), ("c", "x", 3))
    out, rest = parted(batch, donor, seed)
    assert [int((batch[out] == b).sum()) for b in "abc"] == [50, 20, 0]
    assert [int((batch[rest] == b).sum()) for b in "abc"] == [50, 60, 3]


def test_a_donor_that_is_most_of_another_batch_is_not_taken_from_it():
    batch, donor = labels(("a", "x", 10), ("a", "y", 90), ("b", "x", 90), ("b", "y", 10))
    out, rest = parted(batch, donor, 0)
    assert [int((batch[out] == b).sum()) for b in "ab"] == [25, 25]
    assert len(rest) == 150


def test_the_donors_of_unnamed_cells_are_never_drawn():
    batch, donor = labels(("a", "", 60), ("a", "x", 40))
    out, _ = parted(batch, donor, 0)
    assert set(donor[out]) == {"x"}


def test_a_model_that_tells_no_number_is_the_worse_and_the_log_takes_it():
    broken = HeldOut(60, 1, champion=4.0, challenger=math.inf, unit="nats a count")
    assert "its counts cost inf" in surpassed(broken)[0]
    assert broken.as_json()["challenger"] is None
    assert surpassed(HeldOut(60, 1, math.inf, 4.0, "nats a count")) == []
