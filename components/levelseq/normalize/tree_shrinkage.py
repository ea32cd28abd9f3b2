"""Effects on the leaves of a tree, each level shrunk to the one above it.

The effect of a node is its parent's and a deviation, normal over the genes, whose variance is one
number for each level. The variances come from how the leaves' estimates vary together over the
genes, less what sampling adds; given them, the mean of every node's effect follows exactly in one
pass up and one down the tree.

Shapes: L leaves, N nodes (of all levels, the upper ones first), D levels, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import digamma, polygamma

from levelseq.cohort.batch_tree import BatchTree

__all__ = ["Shape", "Shrunk", "deepest", "log_variances", "shrink"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]
Path = tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """A tree by numbers.

    Attributes:
        nodes: paths; the leaves are the last of them, in the tree's order.
        parent_N: number of each node's parent, -1 below the root.
        level_N: number of its level.
        of_leaf_LD: the leaf's node on each level.
    """

    nodes: tuple[Path, ...]
    parent_N: Int
    level_N: Int
    of_leaf_LD: Int

    @classmethod
    def of(cls, tree: BatchTree) -> Shape:
        """The shape of a tree."""
        above = [node for nodes in tree.nodes[:-1] for node in nodes]
        nodes = (*above, *tree.leaves)
        number = {node: i for i, node in enumerate(nodes)}
        parent_N = np.array([number.get(node[:-1], -1) for node in nodes])
        level_N = np.array([len(node) - 1 for node in nodes])
        of_leaf = [[number[leaf[: d + 1]] for d in range(len(leaf))] for leaf in tree.leaves]
        return cls(nodes, parent_N, level_N, np.array(of_leaf))


@dataclass(frozen=True)
class Shrunk:
    """Effects after shrinkage.

    Attributes:
        effect_NG: of every node.
        variance_D: of the deviations of each level.
    """

    effect_NG: F64
    variance_D: F64


def shrink(observed_LG: F64, sampling_LG: F64, weight_L: F64, shape: Shape) -> Shrunk:
    """Effects of all nodes, from estimates on the leaves.

    Args:
        observed_LG: estimate of each leaf's effect, around a mean over the leaves.
        sampling_LG: its sampling variance; infinite where there is no estimate.
        weight_L: share of each leaf in that mean.
        shape: the tree.

    A node's deviations have a mean over the genes, which is kept, so that what a batch does to
    all genes alike is taken as it is; around it they are shrunk.
    """
    known_LG = np.isfinite(sampling_LG)
    mean_N = _means(np.where(known_LG, observed_LG, 0.0), known_LG, weight_L, shape)
    leaves = shape.of_leaf_LD[:, -1]
    around_LG = np.where(known_LG, observed_LG - mean_N[leaves, None], 0.0)
    variance_D = _variances(around_LG, sampling_LG, known_LG, weight_L, shape)
    effect_NG = _posterior(around_LG, sampling_LG, variance_D, shape)
    return Shrunk(effect_NG + mean_N[:, None], variance_D)


def log_variances(squares_LG: F64, count_LG: F64) -> tuple[F64, F64]:
    """Log variance of each leaf without its bias, and its sampling variance.

    Args:
        squares_LG: sums of squares around the leaf's mean.
        count_LG: values. One value, or values that are all equal, tell nothing.
    """
    freedom = np.maximum(count_LG - 1, 1)
    told = (count_LG > 1) & (squares_LG > 0)
    bias = digamma(freedom / 2) - np.log(freedom / 2)
    observed = np.log(np.where(told, squares_LG, 1.0) / freedom) - bias
    return np.where(told, observed, 0.0), np.where(told, polygamma(1, freedom / 2), np.inf)


def _means(observed_LG: F64, known_LG: NDArray[np.bool_], weight_L: F64, shape: Shape) -> F64:
    """(N,): mean over genes of each node's effect; one without estimates has its parent's."""
    count_L = known_LG.sum(axis=1)
    mean_L = observed_LG.sum(axis=1) / np.maximum(count_L, 1)
    share_L = weight_L * (count_L > 0)
    total_N, weight_N = np.zeros(len(shape.nodes)), np.zeros(len(shape.nodes))
    for nodes_L in shape.of_leaf_LD.T:
        np.add.at(total_N, nodes_L, share_L * mean_L)
        np.add.at(weight_N, nodes_L, share_L)
    mean_N = np.zeros(len(shape.nodes))
    for node, parent in enumerate(shape.parent_N):
        above = mean_N[parent] if parent >= 0 else 0.0
        mean_N[node] = total_N[node] / weight_N[node] if weight_N[node] > 0 else above
    return mean_N


def _variances(
    around_LG: F64, sampling_LG: F64, known_LG: NDArray[np.bool_], weight_L: F64, shape: Shape
) -> F64:
    """(D,): variance of each level's deviations, by the leaves' covariances over the genes.

    Leaves that share their nodes down to level d have in common the variances of levels 0 to d;
    all lose what the mean over the leaves takes out. A level whose nodes have one child each
    cannot be told from the next, which takes its variance.
    """
    leaves = np.flatnonzero(known_LG.sum(axis=1) > 1)
    variance_D = np.zeros(shape.of_leaf_LD.shape[1])
    if len(leaves) < 2:
        return variance_D
    around, known = around_LG[leaves], known_LG[leaves].astype(np.float64)
    covariance = (around @ around.T) / np.maximum(known @ known.T - 1, 1)
    noise_L = np.where(known_LG, sampling_LG, 0.0)[leaves].sum(axis=1) / known.sum(axis=1)
    share = weight_L[leaves] / weight_L[leaves].sum()
    centre = np.eye(len(leaves)) - share
    covariance = covariance - centre @ np.diag(noise_L) @ centre.T
    trust = 1 / np.sqrt(np.maximum(np.diag(covariance), 0) + noise_L)
    pairs = np.triu_indices(len(leaves))
    weight = (trust[:, None] * trust)[pairs]
    same = [codes[:, None] == codes for codes in shape.of_leaf_LD[leaves].T]
    told = [d for d in range(len(same)) if d + 1 == len(same) or (same[d] != same[d + 1]).any()]
    columns = [(centre @ same[d] @ centre.T)[pairs] * weight for d in told]
    variance_D[told] = nnls(np.stack(columns, axis=1), covariance[pairs] * weight)[0]
    return variance_D


def _posterior(around_LG: F64, sampling_LG: F64, variance_D: F64, shape: Shape) -> F64:
    """(N, G): mean of each node's effect given all leaves' estimates."""
    n_nodes, n_genes = len(shape.nodes), around_LG.shape[1]
    # What a node's leaves say of it: precision, and precision times mean.
    precision_NG, product_NG = np.zeros((n_nodes, n_genes)), np.zeros((n_nodes, n_genes))
    leaves = shape.of_leaf_LD[:, -1]
    precision_NG[leaves] = 1 / sampling_LG
    product_NG[leaves] = around_LG / sampling_LG
    for node in range(n_nodes - 1, -1, -1):
        parent = shape.parent_N[node]
        if parent >= 0:
            # Seen from the parent an estimate varies by the node's deviation too.
            loss = 1 + precision_NG[node] * variance_D[shape.level_N[node]]
            precision_NG[parent] += precision_NG[node] / loss
            product_NG[parent] += product_NG[node] / loss
    effect_NG = np.zeros((n_nodes, n_genes))
    for node, parent in enumerate(shape.parent_N):
        variance = variance_D[shape.level_N[node]]
        above = effect_NG[parent] if parent >= 0 else 0.0
        effect_NG[node] = (product_NG[node] * variance + above) / (
            1 + precision_NG[node] * variance
        )
    return effect_NG


def deepest(paths: Sequence[Path], nodes: Sequence[Path]) -> Int:
    """(S,): for each path the number of the longest beginning of it that is a node; -1: none."""
    number = {node: i for i, node in enumerate(nodes)}
    found: dict[Path, int] = {}
    for path in set(paths):
        known = (number[path[:d]] for d in range(len(path), 0, -1) if path[:d] in number)
        found[path] = next(known, -1)
    return np.array([found[path] for path in paths], dtype=np.int64)
