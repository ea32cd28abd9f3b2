"""The smooth curve is R's loess, and sane where R's is not."""

from __future__ import annotations

import numpy as np
import pytest

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import loess

from .edaseq_answers import table


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("default", {}),
        ("line", {"span": 0.4, "degree": 1}),
        ("mean", {"span": 0.5, "degree": 0}),
        ("all", {"span": 1}),
        ("robust", {"family": "symmetric"}),
        ("robust_line", {"family": "symmetric", "degree": 1, "span": 0.5}),
    ],
)
def test_it_is_rs(within, name, options):
    points = table("edaseq_loess")
    curve = loess.fit(points["x"], points["y"], **options)
    within(loess.predict(curve, points["at"]), points[name])


def test_a_parabola_is_itself():
    x = np.random.default_rng(1).uniform(-3, 5, 200)
    y = 2 - x + 0.5 * x**2
    curve = loess.fit(x, y)
    assert len(curve.vertices) > 5
    np.testing.assert_allclose(
        curve.values, 2 - curve.vertices + 0.5 * curve.vertices**2, rtol=1e-10, atol=1e-10
    )
    at = np.linspace(x.min(), x.max(), 50)
    np.testing.assert_allclose(loess.predict(curve, at), 2 - at + 0.5 * at**2, atol=0.01)


def test_order_of_points_does_not_matter_and_beyond_them_the_curve_is_level():
    rng = np.random.default_rng(2)
    x = rng.permutation(100) / 10
    y = np.sin(x)
    curve = loess.fit(x, y)
    again = loess.fit(np.sort(x), np.sin(np.sort(x)))
    np.testing.assert_array_equal(curve.values, again.values)
    low, inside, high = loess.predict(curve, [-5, 0, 99])
    assert low == inside
    assert high == loess.predict(curve, [9.9])[0]


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_points_in_few_places_give_their_means(degree):
    x = np.repeat([0.0, 1.0], 50)
    y = np.where(x > 0, 3.0, 1.0) + np.tile([0.5, -0.5], 50)
    curve = loess.fit(x, y, span=0.3, degree=degree)
    np.testing.assert_allclose(loess.predict(curve, [0, 1]), [1, 3], rtol=1e-12)
    one_place = loess.fit(np.full(20, 0.5), np.arange(20.0), degree=degree)
    np.testing.assert_allclose(loess.predict(one_place, [0.5, 0.7]), 9.5, rtol=1e-12)


def test_an_outlier_has_no_say_in_the_symmetric_family():
    x = np.linspace(0, 1, 50)
    y = 2 * x
    y[25] += 100
    curve = loess.fit(x, y, family="symmetric")
    np.testing.assert_allclose(loess.predict(curve, x), 2 * x, atol=1e-6)
    assert np.abs(loess.predict(loess.fit(x, y), x) - 2 * x).max() > 1


def test_what_has_no_curve_is_refused():
    x = np.arange(10.0)
    with pytest.raises(BadInput, match="too few"):
        loess.fit(x[:3], x[:3])
    with pytest.raises(BadInput, match="NaN"):
        loess.fit(x, np.where(x == 3, np.nan, x))
    with pytest.raises(BadInput, match="shape"):
        loess.fit(x, x[:5])
    for wrong in ({"span": 0}, {"span": 1.5}, {"degree": 3}, {"family": "huber"}):
        with pytest.raises(BadOption):
            loess.fit(x, x, **wrong)
