"""kBET for each label on diffusion neighbours (Büttner 2019), the same answer every time.

As `scib_metrics.kbet_per_label`, which it follows step by step with exact neighbours and a fixed
start of the eigensolver: the approximate search there compiles for twenty seconds and depends on
the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh
from scipy.stats import chi2

from levelseq.validate.neighbours import Neighbours, nearest

__all__ = ["acceptance", "kbet_per_label"]

Codes = NDArray[np.int64]

_NEIGHBOURS = 50
_COMPONENTS = 100
_LEAST_IN_LABEL = 10
_LEAST_CONNECTED = 0.75
_ALPHA = 0.05


def kbet_per_label(found: Neighbours, batch_C: NDArray[Any], label_C: NDArray[Any]) -> float:
    """Mean over labels of the share of neighbourhoods whose batches are those of the label.

    Args:
        found: 50 neighbours or more of each observation, itself the first.
        batch_C: batch of each observation.
        label_C: label of each observation.

    Returns:
        0 to 1; NaN when no label has ten observations and two batches.
    """
    graph = _connectivities(found)
    codes = np.unique(batch_C, return_inverse=True)[1].astype(np.int64)
    rates = []
    for label in np.unique(label_C):
        rows = np.flatnonzero(label_C == label)
        if len(rows) >= _LEAST_IN_LABEL and len(np.unique(codes[rows])) > 1:
            rates.append(_of_label(graph[rows][:, rows], codes[rows]))
    return float(np.mean(rates)) if rates else float("nan")


def acceptance(batch_CK: Codes, batch_C: Codes) -> float:
    """Share of neighbourhoods in which a chi-squared test finds the batches' overall shares.

    Args:
        batch_CK: number of the batch of each of K neighbours.
        batch_C: number of each observation's batch.
    """
    names, codes = np.unique(batch_C, return_inverse=True)
    place = np.full(int(batch_C.max()) + 1, -1)
    place[names] = np.arange(len(names))
    expected = np.bincount(codes) / len(codes) * batch_CK.shape[1]
    observed = (place[batch_CK][:, :, None] == np.arange(len(names))).sum(axis=1)
    statistic = ((observed - expected) ** 2 / expected).sum(axis=1)
    return float((chi2.sf(statistic, len(names) - 1) >= _ALPHA).mean())


def _of_label(graph: sp.csr_matrix, batch_C: Codes) -> float:
    quarter = int(np.floor(len(batch_C) / len(np.unique(batch_C)) / 4))
    k = min(70, max(10, quarter))
    count, part = connected_components(graph, connection="strong")
    if count > 1:
        large = np.flatnonzero(np.bincount(part) >= 3 * k)
        rows = np.flatnonzero(np.isin(part, large))
        if len(rows) / len(part) < _LEAST_CONNECTED:
            return 0.0
        graph, batch_C = graph[rows][:, rows], batch_C[rows]
    if len(np.unique(batch_C)) < 2:
        return 0.0
    found = nearest(_diffusion_map(graph), min(k + 1, len(batch_C)), itself=True)
    return acceptance(batch_C[found.indices], batch_C)


def _diffusion_map(graph: sp.csr_matrix) -> NDArray[Any]:
    """Coordinates in which Euclidean distance stands for diffusion distance (Haghverdi 2016)."""
    n = graph.shape[0]
    density = sp.diags(1.0 / np.asarray(graph.sum(axis=0)).ravel())
    kernel = density @ graph @ density
    degree = sp.diags(1.0 / np.sqrt(np.asarray(kernel.sum(axis=0)).ravel()))
    transitions = (degree @ kernel @ degree).astype(np.float64)
    count = min(_COMPONENTS, n - 1)
    start = np.random.default_rng(0).normal(size=n)
    values, vectors = eigsh(transitions, k=count, which="LM", v0=start)
    order = np.argsort(-values)
    values = values[order].astype(np.float32) + 1e-8
    weights = np.divide(values, 1 - values, out=values.copy(), where=values != 1)
    return np.asarray(vectors[:, order] * weights, dtype=np.float32)


def _connectivities(found: Neighbours) -> sp.csr_matrix:
    """UMAP's fuzzy graph of 50 neighbours, as scib-metrics takes it."""
    from umap.umap_ import fuzzy_simplicial_set

    k = min(_NEIGHBOURS, found.indices.shape[1])
    graph = fuzzy_simplicial_set(
        sp.coo_matrix((len(found.indices), 1)),
        n_neighbors=k,
        random_state=None,
        metric=None,
        knn_indices=found.indices[:, :k],
        knn_dists=found.distances[:, :k].astype(np.float32),
    )[0]
    return sp.csr_matrix(graph)
