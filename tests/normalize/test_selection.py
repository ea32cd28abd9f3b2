"""Order statistics without sorting equal those of the sorted values."""

from __future__ import annotations

import numpy as np
import pytest

from levelseq.normalize.selection import pair_at, pairs_of_rows

DRAWS = {
    "smooth": lambda rng, n: rng.normal(size=n),
    "ties": lambda rng, n: rng.integers(0, 5, n).astype(float),
    "mostly zero": lambda rng, n: rng.poisson(0.3, n).astype(float),
    "constant": lambda rng, n: np.full(n, 7.0),
    "sorted": lambda rng, n: np.arange(n, dtype=float),
    "reversed": lambda rng, n: -np.arange(n, dtype=float),
    "periodic": lambda rng, n: (np.arange(n) % 37).astype(float),
    "infinite": lambda rng, n: rng.choice([-np.inf, 0.0, 1.0, np.inf], n),
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 599, 601, 5000])
def test_any_place_is_as_in_the_sorted_values(draw, n):
    rng = np.random.default_rng(n)
    values = DRAWS[draw](rng, n)
    kept, ordered, work = values.copy(), np.sort(values), np.empty(n)
    places = {0, n - 1, n // 2, (n - 1) // 4, 3 * n // 4, n // 50, max(0, n - 2)}
    for k in places:
        assert pair_at(values, n, k, work) == (ordered[k], ordered[min(k + 1, n - 1)])
    np.testing.assert_array_equal(values, kept)


def test_a_misleading_sample_costs_time_and_no_correctness():
    n = 4000
    size = int(n ** (2 / 3))
    values = np.ones(n)
    values[[int(i * (n / size)) for i in range(size)]] = 5.0
    values[1] = 0.5
    ordered = np.sort(values)
    for k in (0, 1, 2, n // 2, n - 1):
        assert pair_at(values, n, k, np.empty(n))[0] == ordered[k]


def test_only_the_first_values_are_looked_at():
    assert pair_at(np.array([3.0, 1.0, 2.0, -9.0]), 3, 0, np.empty(3)) == (1.0, 2.0)


def test_rows_have_their_own():
    x = np.random.default_rng(0).poisson(3, (5, 700)).astype(float)
    low, high = np.empty(5), np.empty(5)
    pairs_of_rows(x, 350, low, high)
    ordered = np.sort(x, axis=1)
    np.testing.assert_array_equal(low, ordered[:, 350])
    np.testing.assert_array_equal(high, ordered[:, 351])
