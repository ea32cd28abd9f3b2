"""A metric in which what tells clusters apart counts, and what varies inside them counts less.

The linear part of probabilistic discriminant analysis (Ioffe 2006, Kenny 2010) without labels:
axes along which clusters differ, each in units of the spread within clusters, scaled by how
reliably one cell shows its cluster's place. What is left of batches inside a cluster counts as
spread several times over (nuisance attribute projection, Solomonoff 2005). Clusters of several
sizes are pooled, so that the result hangs on no one number of them. Being linear, it keeps
whatever is continuous so.

Shapes: S cells, Z latent dimensions, D axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.cluster import KMeans

__all__ = ["ClusterMetric"]

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

CLUSTERS = (6, 10, 16, 24)
CELLS_A_CLUSTER = 10
BATCH_WEIGHT = 5.0
# An axis within clusters is at least this share of the mean one: a cell's own noise is never less.
FLOOR = 1e-3


@dataclass(frozen=True)
class ClusterMetric:
    """Attributes:
    centre_Z: mean of the fitted cells.
    loadings_ZD: of the axes, that which tells clusters apart most reliably first.
    """

    centre_Z: Any
    loadings_ZD: Any

    @classmethod
    def fit(cls, z_SZ: Any, leaf_S: Ints, seed: int, label_S: Ints | None = None) -> ClusterMetric:
        """The metric of some cells; too few for clusters leave the space as it is.

        Args:
            z_SZ: states without the effects of batches.
            leaf_S: each cell's batch.
            seed: of the clusters' start.
            label_S: number of each cell's label, -1 where unknown; the labels count as much as
                all clusters together, in so far as cells have one.
        """
        z = np.asarray(z_SZ, dtype=np.float64)
        centre = z.mean(axis=0)
        numbers = [number for number in CLUSTERS if number * CELLS_A_CLUSTER <= len(z)]
        groupings = [KMeans(k, n_init=5, random_state=seed).fit_predict(z) for k in numbers]
        if label_S is not None and len(np.unique(label_S[label_S >= 0])) > 1:
            groupings += [label_S] * max(1, len(groupings))
        if not groupings:
            return cls(centre, np.eye(z.shape[1]))
        within, between = np.zeros((2, z.shape[1], z.shape[1]))
        for group_S in groupings:
            spread, apart = _scatter(z[group_S >= 0], group_S[group_S >= 0], leaf_S[group_S >= 0])
            within, between = within + spread, between + apart
        within += FLOOR * max(float(np.trace(within)), 1e-12) / len(within) * np.eye(len(within))
        ratio, axes_ZD = eigh(between, within)
        ratio, axes_ZD = np.maximum(ratio[::-1], 0.0), axes_ZD[:, ::-1]
        largest = np.abs(axes_ZD).argmax(axis=0)
        axes_ZD = axes_ZD * np.sign(axes_ZD[largest, np.arange(len(largest))])
        in_units = np.sqrt(len(z) * len(groupings))
        return cls(centre, axes_ZD * in_units * ratio / (1 + ratio))

    def apply(self, z_SZ: Any) -> F64:
        """(S, D): where states lie."""
        return np.asarray((np.asarray(z_SZ, dtype=np.float64) - self.centre_Z) @ self.loadings_ZD)


def _scatter(z_SZ: F64, group_S: Ints, leaf_S: Ints) -> tuple[F64, F64]:
    """(Z, Z) each: sums of squares within groups, with those of batches again, and between."""
    mean_SZ = _means(z_SZ, group_S)
    inside, apart = z_SZ - mean_SZ, mean_SZ - z_SZ.mean(axis=0)
    left = _means(inside, group_S * (int(leaf_S.max()) + 1) + leaf_S)
    return inside.T @ inside + BATCH_WEIGHT * left.T @ left, apart.T @ apart


def _means(z_SZ: F64, group_S: Ints) -> F64:
    """(S, Z): the mean of each cell's group."""
    group = np.unique(group_S, return_inverse=True)[1]
    sums = np.zeros((int(group.max()) + 1, z_SZ.shape[1]))
    np.add.at(sums, group, z_SZ)
    return np.asarray((sums / np.bincount(group)[:, None])[group])
