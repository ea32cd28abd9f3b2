"""Likelihoods of counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["negative_binomial_log_prob", "zero_inflated_log_prob"]

_TINY = 1e-8


def negative_binomial_log_prob(x: Tensor, mean: Tensor, log_theta: Tensor) -> Tensor:
    """Log-probability of counts under NB(mean, theta), without the term that is constant in both.

    Variance is mean + mean**2 / theta. lgamma(x + 1) depends on the data alone and is left out.

    Args:
        x: (cells, genes) counts.
        mean: (cells, genes) expected counts, > 0.
        log_theta: (genes,) or (cells, genes) log of the inverse dispersion.

    Returns:
        (cells, genes) log-probabilities in nats.
    """
    theta = log_theta.exp()
    log_total = torch.log(theta + mean + _TINY)
    return (
        theta * (log_theta - log_total)
        + x * (torch.log(mean + _TINY) - log_total)
        + torch.lgamma(x + theta)
        - torch.lgamma(theta)
    )


def zero_inflated_log_prob(x: Tensor, mean: Tensor, log_theta: Tensor, logit: Tensor) -> Tensor:
    """The same when a count is lost, and a zero, with some probability: scVI's ZINB.

    After Lopez et al. (2018). The expected count is (1 - lost) * mean. lgamma(x + 1) is left out.

    Args:
        x: (cells, genes) counts.
        mean: (cells, genes) expected counts of those that are not lost, > 0.
        log_theta: (genes,) or (cells, genes) log of the inverse dispersion.
        logit: (cells, genes) of the probability that a count is lost.

    Returns:
        (cells, genes) log-probabilities in nats.
    """
    kept = functional.logsigmoid(-logit) + negative_binomial_log_prob(x, mean, log_theta)
    return torch.where(x > 0, kept, torch.logaddexp(functional.logsigmoid(logit), kept))
