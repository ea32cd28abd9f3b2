import numpy as np
import pytest
from scipy.stats import false_discovery_control, kstest, ttest_ind

from levelseq.validate.moderated_t import adjusted, moderated_t

DESIGN = np.array([[0, 1]] * 4 + [[1, 1]] * 4, dtype=float)


def drawn(genes=4000, prior=8.0, seed=0):
    """Log values of genes whose variances follow limma's prior: scaled inverse chi-squared."""
    random = np.random.default_rng(seed)
    variance = 0.04 * prior / random.chisquare(prior, genes)
    return random.normal(0, np.sqrt(variance), (8, genes))


def test_p_values_are_uniform_when_nothing_differs():
    p = moderated_t(drawn(), DESIGN, 0).p_values()
    assert kstest(p, "uniform").pvalue > 0.01


def test_the_prior_is_found():
    found = moderated_t(drawn(), DESIGN, 0)
    assert found.freedom == pytest.approx(6 + 8, rel=0.15)


def test_equal_variances_are_pooled():
    y = np.random.default_rng(1).normal(0, 1, (8, 3000))
    found = moderated_t(y, DESIGN, 0)
    assert found.freedom > 100
    np.testing.assert_allclose(found.error, np.sqrt(0.5), rtol=0.05)


def test_without_shrinkage_it_is_the_t_test():
    y = drawn(genes=2)
    found = moderated_t(y, DESIGN, 0)
    expected = ttest_ind(y[4:], y[:4])
    np.testing.assert_allclose(found.p_values(), expected.pvalue, rtol=1e-9)


def test_a_null_other_than_zero():
    y = drawn() + np.outer(DESIGN[:, 0], np.full(4000, 2.0))
    found = moderated_t(y, DESIGN, 0)
    assert (found.p_values() < 0.01).mean() > 0.99
    assert kstest(found.p_values(2.0), "uniform").pvalue > 0.01


def test_adjusted_p_values_are_benjamini_hochbergs():
    p = np.random.default_rng(2).random(500) ** 2
    np.testing.assert_allclose(adjusted(p), false_discovery_control(p))


def test_a_design_without_freedom_is_refused():
    with pytest.raises(ValueError, match="nothing to estimate"):
        moderated_t(np.zeros((2, 5)), np.eye(2), 0)
