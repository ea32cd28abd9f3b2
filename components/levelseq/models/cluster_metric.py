"""A metric in which what tells clusters apart counts, and what varies inside them counts less.

The linear part of probabilistic discriminant analysis (Ioffe 2006, Kenny 2010) without labels:
axes along which clusters differ, each in units of the spread within clusters, scaled by how
reliably one cell shows its cluster's place. What is left of batches inside a cluster counts as
spread several times over (nuisance attribute projection, Solomonoff 2005). What a condition does
to a cluster makes no clusters and is no spread: it is kept, at about the size of the spread where
clusters do not tell it already, so that it does not outweigh the kinds. Clusters of several sizes
are pooled, so that the result hangs on no one number of them. Being linear, it keeps whatever is
continuous so.

Shapes: S cells, G genes, Z latent dimensions, P principal components, D axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from levelseq.models.latent_levelling import LatentLevelling

__all__ = ["ClusterMetric"]

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

CLUSTERS = (10, 16, 24, 36)
CELLS_A_CLUSTER = 10
BATCH_WEIGHT = 5.0
# An axis within clusters is at least this share of the mean one: a cell's own noise is never less.
FLOOR = 1e-3


@dataclass(frozen=True)
class ClusterMetric:
    """Attributes:
    centre_G: mean of the fitted cells' expression.
    loadings_GD: of the axes, that which tells clusters apart most reliably first.
    """

    centre_G: Any
    loadings_GD: Any

    @classmethod
    def fit(
        cls,
        expression_SG: Any,
        latent_SZ: Any,
        leaf_S: Ints,
        seed: int,
        condition_S: Ints | None = None,
        label_S: Ints | None = None,
    ) -> ClusterMetric:
        """The metric of some cells, on as many axes as there are latent dimensions.

        Too few cells for clusters leave the principal components as they are.

        Args:
            expression_SG: what the model expects of each cell, without the effects of batches.
            latent_SZ: states in which clusters are sought, without the effects of batches.
            leaf_S: each cell's batch.
            seed: of the clusters' start.
            condition_S: number of each cell's condition; more conditions than clusters of cells
                could hold are not looked at.
            label_S: number of each cell's label, -1 where unknown; the labels count as much as
                all clusters together, in so far as cells have one.
        """
        expression, latent = (np.asarray(x, dtype=np.float64) for x in (expression_SG, latent_SZ))
        components = PCA(min(latent.shape[1], *expression.shape), random_state=seed)
        y_SP = components.fit_transform(expression)
        numbers, condition_S = _numbers_of_clusters(len(y_SP), condition_S)
        if condition_S is not None:
            latent = _as_in_one_condition(latent, condition_S, seed)
        groupings = [KMeans(k, n_init=5, random_state=seed).fit_predict(latent) for k in numbers]
        if label_S is not None and len(np.unique(label_S[label_S >= 0])) > 1:
            groupings += [label_S] * max(1, len(groupings))
        loadings_PD = np.eye(y_SP.shape[1])
        if groupings:
            kept = condition_S if condition_S is not None else np.zeros(len(y_SP), dtype=np.int64)
            loadings_PD = _axes(y_SP, groupings, leaf_S, kept)
        return cls(components.mean_, components.components_.T @ loadings_PD)

    def apply(self, expression_SG: Any) -> F64:
        """(S, D): where cells of some expected expression lie."""
        expression = np.asarray(expression_SG, dtype=np.float64)
        return np.asarray((expression - self.centre_G) @ self.loadings_GD)


def _numbers_of_clusters(n_cells: int, condition_S: Ints | None) -> tuple[list[int], Ints | None]:
    """Those that leave each cluster cells enough in every condition, and the conditions.

    No conditions, where there is one alone or are too many for any number of clusters.
    """
    n_conditions = 1 if condition_S is None else len(np.unique(condition_S))
    numbers = [k for k in CLUSTERS if k * n_conditions * CELLS_A_CLUSTER <= n_cells]
    if n_conditions > 1 and numbers:
        return numbers, condition_S
    return [k for k in CLUSTERS if k * CELLS_A_CLUSTER <= n_cells], None


def _as_in_one_condition(latent_SZ: F64, condition_S: Ints, seed: int) -> F64:
    """(S, Z): latent states without what a condition does to each kind of cells."""
    condition = np.unique(condition_S, return_inverse=True)[1][:, None]
    n_conditions = [int(condition.max()) + 1]
    levelling = LatentLevelling.fit(latent_SZ, condition, n_conditions, seed)
    return levelling.apply(latent_SZ, condition, n_conditions)


def _axes(y_SP: F64, groupings: list[Ints], leaf_S: Ints, condition_S: Ints) -> F64:
    """(P, D): the axes that tell groups apart, most reliably first."""
    within, between, kept = np.zeros((3, y_SP.shape[1], y_SP.shape[1]))
    for group_S in groupings:
        known = group_S >= 0
        parts = _scatter(y_SP[known], group_S[known], leaf_S[known], condition_S[known])
        within, between, kept = within + parts[0], between + parts[1], kept + parts[2]
    within += FLOOR * max(float(np.trace(within)), 1e-12) / len(within) * np.eye(len(within))
    ratio, axes_PD = eigh(between, within)
    ratio, axes_PD = np.maximum(ratio[::-1], 0.0), axes_PD[:, ::-1]
    largest = np.abs(axes_PD).argmax(axis=0)
    axes_PD = axes_PD * np.sign(axes_PD[largest, np.arange(len(largest))])
    in_units = np.sqrt(len(y_SP) * len(groupings))
    changed = np.maximum(np.einsum("pd,pq,qd->d", axes_PD, kept, axes_PD), 0.0)
    weight = np.maximum(ratio / (1 + ratio), np.sqrt(changed) / (1 + changed))
    return np.asarray(axes_PD * in_units * weight)


def _scatter(y_SP: F64, group_S: Ints, leaf_S: Ints, condition_S: Ints) -> tuple[F64, F64, F64]:
    """(P, P) each, sums of squares: within groups, between them, of conditions within groups.

    Within a group and a condition what is left of batches counts again.
    """
    mean_SP, each_SP = _means(y_SP, group_S), _means(y_SP, _pairs(group_S, condition_S))
    inside, apart, kept = y_SP - each_SP, mean_SP - y_SP.mean(axis=0), each_SP - mean_SP
    left = _means(inside, _pairs(group_S, leaf_S))
    return inside.T @ inside + BATCH_WEIGHT * left.T @ left, apart.T @ apart, kept.T @ kept


def _pairs(one_S: Ints, other_S: Ints) -> Ints:
    """(S,): a number for each pair."""
    return one_S * (int(other_S.max()) + 1) + other_S


def _means(y_SP: F64, group_S: Ints) -> F64:
    """(S, P): the mean of each cell's group."""
    group = np.unique(group_S, return_inverse=True)[1]
    sums = np.zeros((int(group.max()) + 1, y_SP.shape[1]))
    np.add.at(sums, group, y_SP)
    return np.asarray((sums / np.bincount(group)[:, None])[group])
