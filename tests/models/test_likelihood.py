"""The likelihoods are scipy's, up to the term that depends on the data alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, gammaln
from scipy.stats import nbinom
from torch.distributions import NegativeBinomial

from levelseq.models.likelihood import negative_binomial_log_prob, zero_inflated_log_prob


def drawn() -> tuple[torch.Tensor, ...]:
    """Counts with zeros and large ones; means, log dispersions and logits of lost counts."""
    random = np.random.default_rng(0)
    x = random.poisson(random.gamma(0.5, 6.0, (50, 7))).astype(np.float64)
    x[0, 0] = 40_000
    mean, theta = random.gamma(2.0, 2.0, (50, 7)), random.gamma(2.0, 1.0, 7)
    logit = random.normal(-1, 4, (50, 7))
    logit[1, 0], logit[2, 0] = 60, -60
    x[1, 0] = x[2, 0] = 0
    return tuple(torch.tensor(part) for part in (x, mean, np.log(theta), logit))


def test_log_prob_is_scipys() -> None:
    x, mean, log_theta, _ = drawn()
    theta = log_theta.exp().numpy()
    found = negative_binomial_log_prob(x, mean, log_theta)
    true = nbinom.logpmf(x, theta, theta / (theta + mean.numpy())) + gammaln(x.numpy() + 1)
    np.testing.assert_allclose(found.numpy(), true, rtol=1e-8, atol=1e-6)


def test_zero_inflation_is_a_mixture_of_zeros_and_scipys() -> None:
    x, mean, log_theta, logit = drawn()
    found = zero_inflated_log_prob(x, mean, log_theta, logit)
    theta, lost = log_theta.exp().numpy(), expit(logit.numpy())
    zero = x.numpy() == 0
    assert 0.1 < zero.mean() < 0.9
    plain = nbinom.logpmf(x, theta, theta / (theta + mean.numpy()))
    kept = np.log(expit(-logit.numpy())) + plain
    true = np.where(zero, np.logaddexp(np.log(lost), kept), kept) + gammaln(x.numpy() + 1)
    np.testing.assert_allclose(found.numpy(), true, rtol=1e-8, atol=1e-6)


def test_probabilities_of_all_counts_sum_to_one_and_the_mean_is_of_what_is_left() -> None:
    x = torch.arange(3000.0, dtype=torch.float64)[:, None]
    mean, log_theta = torch.tensor([7.0]).double(), torch.tensor([0.3]).double()
    logit = torch.tensor([-0.4]).double()
    p = (zero_inflated_log_prob(x, mean, log_theta, logit) - torch.lgamma(x + 1)).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-6)
    assert float((p * x).sum()) == pytest.approx(float(expit(0.4)) * 7, rel=1e-6)


def test_a_dispersion_of_each_cell_is_torchs_distribution() -> None:
    x, mean, _, _ = drawn()
    log_theta = torch.linspace(-2, 3, x.numel(), dtype=torch.float64).reshape(x.shape)
    truth = NegativeBinomial(log_theta.exp(), logits=mean.log() - log_theta)
    found = negative_binomial_log_prob(x, mean, log_theta) - torch.lgamma(x + 1)
    torch.testing.assert_close(found, truth.log_prob(x), rtol=1e-8, atol=1e-6)


def test_gradients_are_finite_differences() -> None:
    x, *given = drawn()
    rows = slice(3, 9)
    mean, log_theta, logit = (
        part.clone().requires_grad_() for part in (given[0][rows], given[1], given[2][rows])
    )
    assert (x[rows] == 0).any()
    assert torch.autograd.gradcheck(
        lambda *at: zero_inflated_log_prob(x[rows], *at), (mean, log_theta, logit)
    )


def test_a_certain_loss_and_none_have_finite_gradients() -> None:
    x = torch.tensor([[0.0, 0.0, 3.0, 3.0]])
    logit = torch.tensor([[90.0, -90.0, 90.0, -90.0]], requires_grad=True)
    mean = torch.full((1, 4), 1e-6, requires_grad=True)
    zero_inflated_log_prob(x, mean, torch.zeros(4), logit).sum().backward()
    assert logit.grad is not None
    assert mean.grad is not None
    assert logit.grad.isfinite().all()
    assert mean.grad.isfinite().all()
