"""The clusters' metric: what tells types apart counts more, and nothing continuous is torn."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import silhouette_score

from levelseq.models.cluster_metric import ClusterMetric


def cells(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four types on two axes, with four more axes of louder noise; two batches."""
    random = np.random.default_rng(seed)
    types, batch = random.integers(0, 4, 800), random.integers(0, 2, 800)
    corner = np.array([[0, 0], [6, 0], [0, 6], [6, 6]])[types]
    z = np.hstack([corner + random.normal(size=(800, 2)), 1.5 * random.normal(size=(800, 4))])
    return z, types, batch


def test_types_stand_apart_more_than_before() -> None:
    for seed in range(3):
        z, types, batch = cells(seed)
        after = ClusterMetric.fit(z, batch, 0).apply(z)
        assert silhouette_score(after, types) > silhouette_score(z, types) + 0.1


def test_labels_even_in_part_stand_apart_further() -> None:
    z, types, batch = cells(0)
    known = np.where(np.random.default_rng(0).random(800) < 0.3, types, -1)
    without = ClusterMetric.fit(z, batch, 0).apply(z)
    helped = ClusterMetric.fit(z, batch, 0, known).apply(z)
    assert silhouette_score(helped, types) > silhouette_score(without, types) + 0.01


def test_it_is_linear_so_a_path_between_types_stays_a_path() -> None:
    z, _, batch = cells(1)
    metric = ClusterMetric.fit(z, batch, 0)
    ends = metric.apply(z[:2])
    middle = metric.apply(z[:2].mean(axis=0, keepdims=True))
    np.testing.assert_allclose(middle[0], ends.mean(axis=0), atol=1e-9)


def test_what_is_left_of_batches_counts_less() -> None:
    z, _, batch = cells(2)
    z = z + np.outer(batch, [0, 0, 2.0, 0, 0, 0])
    after = ClusterMetric.fit(z, batch, 0).apply(z)

    def share(x: np.ndarray) -> float:
        mean = np.stack([x[batch == b].mean(axis=0) for b in (0, 1)])[batch]
        return float(((mean - x.mean(axis=0)) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())

    assert share(after) < 0.5 * share(z)
