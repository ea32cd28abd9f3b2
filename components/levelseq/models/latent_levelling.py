"""Levelling in latent space: a mixture of linear corrections on the batch tree.

Cells are softly assigned to clusters in which batches are drawn to mix, and every cluster has an
offset for each node of the tree; a cell loses the offsets along its path. After Harmony (Korsunsky
et al. 2019), whose assignment and stopping it follows, and Symphony (Kang et al. 2021) for the use
on cells that were not in the fit. Two things are different: offsets add up over the levels of the
tree, and they shrink towards their parent by a variance that is learned for each level, so that
batches which do not differ are left alone.

Shapes: S cells, Z latent dimensions, K clusters, L levels, N nodes of all levels, F leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from levelseq.models.tree_paths import NodeCounts, paths

__all__ = ["LatentLevelling"]

F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_CLUSTERS = 60
CELLS_A_CLUSTER = 30
SOFTNESS = 0.1
DIVERSITY = 1.0
ROUNDS, INNER_ROUNDS, BLOCKS = 10, 20, 20
PLACING_ROUNDS = 10
VARIANCE_ROUNDS = 5
# Batches that do not differ leave an offset of a tenth of the way to the 15th neighbour at this
# bound; without it, weak batch effects that lie in many clusters are not taken out.
MOST_PRECISION = 5.0
_TINY = 1e-12


@dataclass(frozen=True)
class LatentLevelling:
    """A fitted correction; `apply` is a function of a cell's state and path alone.

    Attributes:
        direction_KZ: unit vectors to the clusters.
        centre_KZ: where each cluster's cells lie without the effect of any batch.
        offset_KNZ: of each node within each cluster, added to its ancestors'.
        pull_KF: log-weight of each cluster for the cells of each leaf: the clusters that a leaf
            is short of draw its cells.
        precision_L: of a level's offsets, in cells: what n cells show is kept by
            n / (n + precision).
    """

    direction_KZ: Any
    centre_KZ: Any
    offset_KNZ: Any
    pull_KF: Any
    precision_L: Any

    @classmethod
    def fit(cls, z_SZ: Any, node_SL: Ints, n_nodes: Sequence[int], seed: int) -> LatentLevelling:
        """The correction of some cells.

        Args:
            z_SZ: latent states.
            node_SL: for each level the number of a cell's node.
            n_nodes: for each level how many nodes it has.
            seed: of the clusters' start and the order in which cells are assigned.
        """
        random = np.random.default_rng([seed, 5])
        z = np.asarray(z_SZ, dtype=np.float64)
        n_clusters = int(np.clip(round(len(z) / CELLS_A_CLUSTER), 2, MOST_CLUSTERS))
        n_clusters = min(n_clusters, len(z))
        leaf_S = node_SL[:, -1]
        path_FN = _paths_of_leaves(node_SL, n_nodes)
        start = KMeans(n_clusters, n_init=3, random_state=seed).fit(_unit(z))
        direction = _unit(start.cluster_centers_)
        share_SK = _softmax(_closeness(z, direction))
        level_N = np.repeat(np.arange(len(n_nodes)), n_nodes)
        precision_L = np.ones(len(n_nodes))
        corrected = z
        for _ in range(ROUNDS):
            assigned = _Assignment(share_SK, leaf_S, len(path_FN), random)
            direction = assigned.settle(_unit(corrected))
            share_SK = assigned.share_SK
            centre, offset, precision_L = _offsets(z, assigned, path_FN, level_N, precision_L)
            before, corrected = corrected, z - _moved(share_SK, leaf_S, path_FN, offset)
            if np.abs(corrected - before).mean() < 1e-3 * np.abs(before).mean():
                break
        return cls(direction, centre, offset, assigned.pull(), precision_L)

    def apply(self, z_SZ: Any, node_SL: Ints, n_nodes: Sequence[int]) -> F64:
        """(S, Z): latent states without the offsets; an unknown node (-1) has none."""
        z = np.asarray(z_SZ, dtype=np.float64)
        out = np.empty_like(z)
        for same, offset_KZ, pull in self._by_path(node_SL, n_nodes):
            out[same] = self._placed(z[same], offset_KZ, pull)[0]
        return out

    def effect(self, levelled_SZ: Any, node_SL: Ints, n_nodes: Sequence[int]) -> F64:
        """(S, Z): what `apply` would take from cells of these levelled states on these paths."""
        levelled = np.asarray(levelled_SZ, dtype=np.float64)
        out = np.empty_like(levelled)
        for same, offset_KZ, pull in self._by_path(node_SL, n_nodes):
            share = _softmax(_closeness(levelled[same], self.direction_KZ) + pull)
            out[same] = share @ offset_KZ
        return out

    def _by_path(self, node_SL: Ints, n_nodes: Sequence[int]) -> Iterator[tuple[Any, F64, Any]]:
        """For each distinct path its cells, the clusters' offsets on it, and their pull."""
        node_PL, place_S = np.unique(node_SL, axis=0, return_inverse=True)
        for number, (node_L, path_N) in enumerate(zip(node_PL, _paths(node_PL, n_nodes))):
            pull = self.pull_KF[:, node_L[-1]] if node_L[-1] >= 0 else 0.0
            yield place_S == number, np.einsum("n,knz->kz", path_N, self.offset_KNZ), pull

    def _placed(self, z: F64, offset_KZ: F64, pull: Any) -> tuple[F64, F64]:
        """Cells of one path without their offsets, and their shares of the clusters."""
        corrected = z
        for _ in range(PLACING_ROUNDS):
            share = _softmax(_closeness(corrected, self.direction_KZ) + pull)
            corrected = z - share @ offset_KZ
        return corrected, share

    def with_nodes(self, before: Sequence[int], after: Sequence[int]) -> LatentLevelling:
        """With room for more nodes in each level, which have no offset yet."""
        ends = np.cumsum(before)[:-1]
        levels = [
            np.pad(level, ((0, 0), (0, more - held), (0, 0)))
            for level, held, more in zip(np.split(self.offset_KNZ, ends, axis=1), before, after)
        ]
        pull = np.pad(self.pull_KF, ((0, 0), (0, after[-1] - before[-1])))
        return replace(self, offset_KNZ=np.concatenate(levels, axis=1), pull_KF=pull)

    def with_leaf_of(self, z_SZ: Any, node_L: Ints, n_nodes: Sequence[int]) -> LatentLevelling:
        """With one leaf's offsets estimated from its cells; leaves that follow it stay as they are.

        Args:
            z_SZ: latent states of the leaf's cells.
            node_L: the leaf's path.
            n_nodes: for each level how many nodes it has.
        """
        z = np.asarray(z_SZ, dtype=np.float64)
        path_N = _paths(node_L[None], n_nodes)[0]
        above, leaf = sum(n_nodes[:-1]), int(node_L[-1])
        own, later = above + leaf, [above + other for other in NodeCounts.of(n_nodes).after(leaf)]
        offset = self.offset_KNZ.copy()
        offset[:, own] = 0.0
        above_KZ = np.einsum("n,knz->kz", path_N, offset)
        own_KZ = np.zeros_like(above_KZ)
        for _ in range(PLACING_ROUNDS):
            share = self._placed(z, above_KZ + own_KZ, 0.0)[1]
            n_K = share.sum(axis=0)[:, None]
            seen_KZ = share.T @ z - n_K * (self.centre_KZ + above_KZ)
            own_KZ = seen_KZ / (n_K + self.precision_L[-1])
        offset[:, own] = own_KZ
        offset[:, later] += (self.offset_KNZ[:, own] - own_KZ)[:, None]
        return replace(self, offset_KNZ=offset)


class _Assignment:
    """Shares of the clusters in each cell, drawn towards clusters that lack the cell's batch."""

    def __init__(self, share_SK: F64, leaf_S: Ints, n_leaves: int, random: Any) -> None:
        self.share_SK = share_SK.copy()
        self.leaf_S = leaf_S
        self._random = random
        self._part_F = np.bincount(leaf_S, minlength=n_leaves) / len(leaf_S)
        self.seen_KF = self.by_leaf(np.ones((len(leaf_S), 1)))[:, :, 0]

    def by_leaf(self, x_SZ: F64) -> F64:
        """(K, F, Z): sums over each leaf's cells, weighted by their shares."""
        n_leaves = len(self._part_F)
        out = np.zeros((self.share_SK.shape[1], n_leaves, x_SZ.shape[1]))
        for leaf in range(n_leaves):
            rows = self.leaf_S == leaf
            out[:, leaf] = self.share_SK[rows].T @ x_SZ[rows]
        return out

    def pull(self) -> F64:
        """(K, F): log-weight of each cluster for a leaf, above 0 where it lacks the leaf."""
        expected = self.seen_KF.sum(axis=1, keepdims=True) * self._part_F
        return np.asarray(DIVERSITY * np.log((expected + 1) / (self.seen_KF + 1)))

    def settle(self, unit_SZ: F64) -> F64:
        """Assign in turns until the clusters stay; gives their directions."""
        objective = np.inf
        for _ in range(INNER_ROUNDS):
            direction = _unit(self.share_SK.T @ unit_SZ)
            closeness = _closeness(unit_SZ, direction)
            for rows in np.array_split(self._random.permutation(len(unit_SZ)), BLOCKS):
                self._assign(rows, closeness)
            spread = -SOFTNESS * (self.share_SK * closeness).sum()
            entropy = SOFTNESS * (self.share_SK * np.log(self.share_SK + 1e-300)).sum()
            before, objective = objective, spread + entropy
            if abs(before - objective) < 1e-4 * abs(objective):
                break
        return _unit(self.share_SK.T @ unit_SZ)

    def _assign(self, rows: Ints, closeness_SK: F64) -> None:
        leaf = self.leaf_S[rows]
        np.subtract.at(self.seen_KF.T, leaf, self.share_SK[rows])
        self.share_SK[rows] = _softmax(closeness_SK[rows] + self.pull()[:, leaf].T)
        np.add.at(self.seen_KF.T, leaf, self.share_SK[rows])


def _paths(node_SL: Ints, n_nodes: Sequence[int]) -> F64:
    return paths(torch.from_numpy(node_SL), n_nodes).numpy().astype(np.float64)


def _paths_of_leaves(node_SL: Ints, n_nodes: Sequence[int]) -> F64:
    """(F, N): the path of each leaf that has cells; others have none."""
    path = np.zeros((n_nodes[-1], sum(n_nodes)))
    leaves, first = np.unique(node_SL[:, -1], return_index=True)
    path[leaves] = _paths(node_SL[first], n_nodes)
    return path


def _offsets(
    z_SZ: F64, assigned: _Assignment, path_FN: F64, level_N: Ints, precision_L: F64
) -> tuple[F64, F64, F64]:
    """Centres, offsets and the levels' precision: ridge regression with a learned penalty."""
    sum_KFZ, n_KF = assigned.by_leaf(z_SZ), assigned.seen_KF
    design = np.hstack([np.ones((len(path_FN), 1)), path_FN])
    gram_KAA = np.einsum("fa,kf,fb->kab", design, n_KF, design, optimize=True)
    right_KAZ = np.einsum("fa,kfz->kaz", design, sum_KFZ, optimize=True)
    total = float((assigned.share_SK.sum(axis=1) * (z_SZ**2).sum(axis=1)).sum())
    for _ in range(VARIANCE_ROUNDS):
        penalty = np.concatenate([[1e-8], precision_L[level_N]])
        inverse = np.linalg.inv(gram_KAA + np.diag(penalty))
        fitted = inverse @ right_KAZ
        variance = max(total - float((fitted * right_KAZ).sum()), _TINY) / len(z_SZ)
        unsure_KN = np.einsum("kaa->ka", inverse)[:, 1:] * variance
        size_N = ((fitted[:, 1:] ** 2).sum(axis=2) + unsure_KN).mean(axis=0)
        size_L = np.bincount(level_N, size_N) / np.bincount(level_N)
        precision_L = np.minimum(variance / np.maximum(size_L, _TINY), MOST_PRECISION)
    return fitted[:, 0], fitted[:, 1:], precision_L


def _moved(share_SK: F64, leaf_S: Ints, path_FN: F64, offset_KNZ: F64) -> F64:
    out = np.empty((len(leaf_S), offset_KNZ.shape[2]))
    for leaf in np.unique(leaf_S):
        rows = leaf_S == leaf
        out[rows] = share_SK[rows] @ np.einsum("n,knz->kz", path_FN[leaf], offset_KNZ)
    return out


def _closeness(z_SZ: F64, direction_KZ: F64) -> F64:
    """(S, K): -2 (1 - cosine) over the softness; the log of an unscaled share."""
    return np.asarray(-2.0 * (1.0 - _unit(z_SZ) @ direction_KZ.T) / SOFTNESS)


def _softmax(log_SK: F64) -> F64:
    share = np.exp(log_SK - log_SK.max(axis=1, keepdims=True))
    return np.asarray(share / share.sum(axis=1, keepdims=True))


def _unit(x: F64) -> F64:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), _TINY))
