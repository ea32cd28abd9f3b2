"""Shapley values against their definition: the mean over all orders in which genes can come."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from levelseq.validate.linear_classifier import fit, principal_axes
from levelseq.validate.shapley import linear_shapley, mean_absolute, toward_truth


def by_coalitions(model, x_G, background_CG):
    """Shapley values by their definition; a gene outside the coalition takes its mean."""
    genes = len(x_G)

    def worth(coalition):
        told = background_CG.mean(axis=0).copy()
        told[list(coalition)] = x_G[list(coalition)]
        return model(told)

    values = np.zeros(genes)
    for gene in range(genes):
        others = [g for g in range(genes) if g != gene]
        for size in range(genes):
            weight = factorial(size) * factorial(genes - size - 1) / factorial(genes)
            for coalition in combinations(others, size):
                values[gene] += weight * (worth((*coalition, gene)) - worth(coalition))
    return values


@pytest.fixture(scope="module")
def classified():
    random = np.random.default_rng(4)
    class_C = np.repeat([0, 1, 2], 30)
    x = random.normal(size=(90, 6)) + class_C[:, None] * np.array([1.0, -1, 0.5, 0, 0, 0])
    return x, class_C, fit(principal_axes(x), x, class_C)


def test_they_are_what_all_coalitions_give():
    random = np.random.default_rng(0)
    x, weight = random.normal(2, 1, (40, 7)), random.normal(size=7)
    found = linear_shapley(x, weight, x.mean(axis=0))
    for row in (0, 17):
        expected = by_coalitions(lambda v: 0.3 + v @ weight, x[row], x)
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_of_a_fitted_classifier_they_explain_the_log_odds_of_each_class(classified):
    x, _, model = classified
    centred = model.weight_GK - model.weight_GK.mean(axis=1, keepdims=True)
    for k in range(3):

        def log_odds(v, k=k):
            scores = v @ model.weight_GK + model.intercept_K
            return scores[k] - scores.mean()

        found = linear_shapley(x, centred[:, k], x.mean(axis=0))
        np.testing.assert_allclose(found[5], by_coalitions(log_odds, x[5], x), atol=1e-10)
        np.testing.assert_allclose(
            found[5].sum(), log_odds(x[5]) - np.mean([log_odds(v) for v in x]), atol=1e-10
        )


def test_the_mean_of_absolute_values_is_over_observations_and_classes(classified):
    x, _, model = classified
    centred = model.weight_GK - model.weight_GK.mean(axis=1, keepdims=True)
    every = np.stack([linear_shapley(x, centred[:, k], x.mean(axis=0)) for k in range(3)])
    expected = np.abs(every).mean(axis=(0, 1))
    np.testing.assert_allclose(mean_absolute(x, model.weight_GK, x.mean(axis=0)), expected)


def test_toward_the_truth_only_genes_that_differ_add_something(classified):
    x, class_C, model = classified
    even = x - np.stack([x[class_C == k].mean(axis=0) for k in range(3)])[class_C]
    np.testing.assert_allclose(toward_truth(even, class_C, model.weight_GK), 0, atol=1e-12)
    found = toward_truth(x, class_C, model.weight_GK)
    assert found[:3].min() > 4 * np.abs(found[3:]).max()


@pytest.mark.parametrize("classes", [2, 3])
def test_weights_of_the_genes_tell_what_the_components_tell(classes):
    random = np.random.default_rng(1)
    class_C = np.repeat(np.arange(classes), 60)
    x = random.normal(size=(60 * classes, 400))
    x[:, :20] += class_C[:, None]
    axes = principal_axes(x)
    assert axes.axes_GD.shape == (400, 50)
    model = fit(axes, x, class_C)
    assert model.weight_GK.shape == (400, classes)
    assert (model.told(x) == class_C).mean() > 0.95
    heavy = np.abs(model.weight_GK).max(axis=1)
    assert heavy[:20].mean() > 3 * heavy[20:].mean()
