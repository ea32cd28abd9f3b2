"""The clusters' metric: what tells types apart counts more, and nothing continuous is torn."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
from sklearn.metrics import silhouette_score

from levelseq.cohort import open_cohort
from levelseq.models import vae_fit
from levelseq.models.cluster_metric import ClusterMetric
from levelseq.models.conditional_vae import VaeModel
from levelseq.models.saving import load_model
from levelseq.models.vae_fit import conditions_of
from levelseq.train import step as train

from .conftest import TRAINING, Trained


def cells(seed: int, n: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four types on two axes, with four more axes of louder noise; two batches."""
    random = np.random.default_rng(seed)
    types, batch = random.integers(0, 4, n), random.integers(0, 2, n)
    corner = np.array([[0, 0], [6, 0], [0, 6], [6, 6]])[types]
    z = np.hstack([corner + random.normal(size=(n, 2)), 1.5 * random.normal(size=(n, 4))])
    return z, types, batch


def test_types_stand_apart_more_than_before() -> None:
    for seed in range(3):
        z, types, batch = cells(seed)
        after = ClusterMetric.fit(z, z, batch, 0).apply(z)
        assert silhouette_score(after, types) > silhouette_score(z, types) + 0.1


def test_labels_even_in_part_stand_apart_further() -> None:
    z, types, batch = cells(0)
    known = np.where(np.random.default_rng(0).random(800) < 0.3, types, -1)
    without = ClusterMetric.fit(z, z, batch, 0).apply(z)
    helped = ClusterMetric.fit(z, z, batch, 0, label_S=known).apply(z)
    assert silhouette_score(helped, types) > silhouette_score(without, types) + 0.01


def test_it_is_linear_so_a_path_between_types_stays_a_path() -> None:
    z, _, batch = cells(1)
    metric = ClusterMetric.fit(z, z, batch, 0)
    ends = metric.apply(z[:2])
    middle = metric.apply(z[:2].mean(axis=0, keepdims=True))
    np.testing.assert_allclose(middle[0], ends.mean(axis=0), atol=1e-9)


def test_what_is_left_of_batches_counts_less() -> None:
    z, _, batch = cells(2)
    z = z + np.outer(batch, [0, 0, 2.0, 0, 0, 0])
    after = ClusterMetric.fit(z, z, batch, 0).apply(z)

    def share(x: np.ndarray) -> float:
        mean = np.stack([x[batch == b].mean(axis=0) for b in (0, 1)])[batch]
        return float(((mean - x.mean(axis=0)) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())

    assert share(after) < 0.5 * share(z)


def test_a_condition_does_not_outweigh_the_types_and_stays() -> None:
    for seed in range(3):
        z, types, batch = cells(seed)
        condition = np.random.default_rng([seed, 1]).integers(0, 2, 800)
        # As large as what tells the types apart, and not the same in each of them.
        z[:, 2] += condition * (4 + types)
        unnamed = ClusterMetric.fit(z, z, batch, 0).apply(z)
        named = ClusterMetric.fit(z, z, batch, 0, condition).apply(z)
        assert silhouette_score(named, types) > silhouette_score(unnamed, types) + 0.01
        assert told(named, types, condition) > 0.1


def test_a_condition_stays_where_clusters_tell_nothing_of_it() -> None:
    z, types, batch = cells(0, 4000)
    random = np.random.default_rng(1)
    condition = random.integers(0, 2, 4000)
    changed = np.column_stack([z, 6 * condition + random.normal(size=4000)])
    named = ClusterMetric.fit(changed, z, batch, 0, condition).apply(changed)
    assert told(named, types, condition) > 0.15


def told(x: np.ndarray, types: np.ndarray, condition: np.ndarray) -> float:
    """How far a condition stands apart in the type where it does so least."""
    apart = [silhouette_score(x[types == kind], condition[types == kind]) for kind in range(4)]
    return float(min(apart))


def test_more_conditions_than_clusters_could_hold_are_not_looked_at() -> None:
    z, _, batch = cells(0)
    without = ClusterMetric.fit(z, z, batch, 0).apply(z)
    one = ClusterMetric.fit(z, z, batch, 0, np.zeros(800, dtype=np.int64)).apply(z)
    many = ClusterMetric.fit(z, z, batch, 0, np.arange(800)).apply(z)
    np.testing.assert_array_equal(one, without)
    np.testing.assert_array_equal(many, without)


def test_a_fit_is_told_the_conditions_of_its_cells_where_every_cohort_has_them(
    trained: Trained,
) -> None:
    own, later = open_cohort(trained.cohort), open_cohort(trained.later)
    rows = np.array([100, 3, 77])
    names = np.concatenate(
        [c.obs()["condition"].astype(str).to_numpy()[rows] for c in (own, later)]
    )
    code = conditions_of([(own, rows), (later, rows)])
    np.testing.assert_array_equal(code[:, None] == code, names[:, None] == names)
    with patch.object(type(later), "role", lambda cohort, name: None):
        assert conditions_of([(own, rows)]) is None


def test_a_trained_model_lays_cells_by_expression_with_the_conditions_named(
    trained: Trained, tmp_path: Path
) -> None:
    named = load_model(trained.model)
    assert isinstance(named, VaeModel)
    assert named.place.metric.loadings_GD.shape == (len(named.space.variable), 8)
    with patch.object(vae_fit, "conditions_of", lambda parts: None):
        address = train.run(TRAINING, trained.cohort, trained.normalized, str(tmp_path))
    unnamed = load_model(address)
    assert isinstance(unnamed, VaeModel)
    latent = (named.anchors.latent, unnamed.anchors.latent)
    np.testing.assert_array_equal(*latent)
    assert np.abs(named.anchors.embedding - unnamed.anchors.embedding).max() > 0.01
