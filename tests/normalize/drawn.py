"""Counts that the tests draw."""

from __future__ import annotations

import numpy as np
import pandas as pd


def draw_counts(
    n_samples: int = 60, n_genes: int = 80, n_batches: int = 3, seed: int = 0, mean: float = 4.0
) -> tuple[np.ndarray, pd.DataFrame]:
    """Negative binomial counts of batches with their own gene effects, and their table."""
    rng = np.random.default_rng(seed)
    batch = np.arange(n_samples) % n_batches
    condition = (np.arange(n_samples) // n_batches) % 2
    log_mean = rng.normal(mean, 1, n_genes) + rng.normal(0, 0.7, (n_batches, n_genes))[batch]
    log_mean += condition[:, None] * np.where(np.arange(n_genes) < 10, 1.0, 0.0)
    depth = np.exp(rng.normal(0, 0.4, n_samples))[:, None]
    counts = rng.negative_binomial(5, 5 / (5 + np.exp(log_mean) * depth))
    table = pd.DataFrame(
        {
            "site": [f"site{b // 2}" for b in batch],
            "lab": [f"lab{b}" for b in batch],
            "condition": np.where(condition, "treated", "control"),
        },
        index=[f"s{i:03d}" for i in range(n_samples)],
    )
    return counts, table
