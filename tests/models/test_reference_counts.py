"""Counts on a reference batch have its means, its variance and its zeros."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import nbinom

from levelseq.models.reference_counts import Distributions, counts_on_reference

CELLS = 40_000


def drawn(mean: float, theta: float, seed: int = 0) -> np.ndarray:
    return nbinom.rvs(theta, theta / (theta + mean), size=(CELLS, 1), random_state=seed) * 1.0


def mapped(y: np.ndarray, own: float, new: float, theta: float, theta_new: float) -> np.ndarray:
    one = np.ones_like(y)
    before, after = Distributions(own * one, theta * one), Distributions(new * one, theta_new * one)
    return counts_on_reference(y, before, after, np.arange(len(y)))


@pytest.mark.parametrize(
    ("own", "new", "theta", "theta_new"),
    [
        (0.2, 0.5, 1.0, 1.0),
        (0.5, 0.2, 0.4, 0.4),
        (3.0, 9.0, 5.0, 5.0),
        (9.0, 3.0, 5.0, 2.0),
        (300.0, 500.0, 20.0, 20.0),
        (90.0, 30.0, 1e4, 1e4),
    ],
)
def test_what_follows_one_distribution_follows_the_other_afterwards(
    own: float, new: float, theta: float, theta_new: float
) -> None:
    y = drawn(own, theta)
    found = mapped(y, own, new, theta, theta_new)
    assert found.dtype == np.int32
    true = nbinom(theta_new, theta_new / (theta_new + new))
    assert found.mean() == pytest.approx(true.mean(), rel=0.03)
    assert found.var() == pytest.approx(true.var(), rel=0.06)
    error = 4 * np.sqrt(true.pmf(0) * (1 - true.pmf(0)) / CELLS) + 1e-4
    assert (found == 0).mean() == pytest.approx(true.pmf(0), abs=error)


def test_the_same_distribution_leaves_counts_as_they_are() -> None:
    y = drawn(5.0, 2.0)
    np.testing.assert_array_equal(mapped(y, 5.0, 5.0, 2.0, 2.0), y)


@pytest.mark.parametrize(
    ("own", "new", "theta", "theta_new"),
    [
        (0.01, 1.0, 10.0, 10.0),
        (0.1, 3.0, 50.0, 50.0),
        (10.0, 0.5, 10.0, 10.0),
        (1.0, 0.01, 5.0, 5.0),
        (5.0, 5.0, 10.0, 0.5),
        (500.0, 40.0, 1e3, 1e3),
    ],
)
def test_unlikely_counts_go_where_their_tail_lies(
    own: float, new: float, theta: float, theta_new: float
) -> None:
    y = np.arange(0.0, 900)[:, None]
    found = mapped(y, own, new, theta, theta_new)[:, 0]
    tail = nbinom.sf(y[:, 0], theta, theta / (theta + own))
    seen = tail > 1e-250
    # A count's tail lies within those of the counts around the one that it becomes.
    target = nbinom(theta_new, theta_new / (theta_new + new))
    assert (target.sf(found[seen]) <= nbinom.sf(y[seen, 0] - 1, theta, theta / (theta + own))).all()
    assert (target.sf(found[seen] - 1) >= tail[seen] * (1 - 1e-6)).all()


def test_a_count_that_no_number_tells_the_tail_of_keeps_its_ratio() -> None:
    y = np.array([[40_000.0], [1e9], [0.0]])
    found = mapped(y, 0.01, 0.02, 1e3, 1e3)
    assert found[:2, 0].tolist() == [80_000, 2_000_000_000]
    assert found[2, 0] in (0, 1)
    huge = mapped(y, 0.0, 1e6, 1.0, 1.0)
    assert (huge >= 0).all()
    assert huge[1, 0] == np.iinfo(np.int32).max


def test_draws_are_those_of_a_cells_number_and_gene() -> None:
    y, one, rows = np.zeros((50, 3)), np.ones((50, 3)), np.arange(100, 150)
    found = counts_on_reference(y, Distributions(0.5 * one, one), Distributions(2 * one, one), rows)
    few = one[7:9]
    before, after = Distributions(0.5 * few, few), Distributions(2 * few, few)
    some = counts_on_reference(y[7:9], before, after, rows[7:9])
    np.testing.assert_array_equal(found[7:9], some)
    assert len({tuple(column) for column in found.T}) == 3
