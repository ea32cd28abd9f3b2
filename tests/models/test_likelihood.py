"""The negative binomial is scipy's, up to the term that depends on the data alone."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import gammaln
from scipy.stats import nbinom

from levelseq.models.likelihood import negative_binomial_log_prob


def test_log_prob_is_scipys() -> None:
    random = np.random.default_rng(0)
    x = random.poisson(3.0, (50, 7)).astype(np.float64)
    mean, theta = random.gamma(2.0, 2.0, (50, 7)), random.gamma(2.0, 1.0, 7)
    found = negative_binomial_log_prob(
        torch.tensor(x), torch.tensor(mean), torch.tensor(np.log(theta))
    )
    true = nbinom.logpmf(x, theta, theta / (theta + mean)) + gammaln(x + 1)
    np.testing.assert_allclose(found.numpy(), true, atol=1e-6)
