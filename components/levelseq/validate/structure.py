"""Scores of structure beside scIB's: what a total does not show.

Shapes: C cells (observations), D dimensions, G genes, T types, B batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.utils.extmath import randomized_svd

from levelseq.validate.neighbours import nearest

__all__ = ["cilisi", "gene_correlation", "lisi", "sc_graph", "variable_overlap"]

F64 = NDArray[np.float64]
Text = NDArray[Any]

_PERPLEXITY = 30.0
_NEIGHBOURS = 90
_LEAST_IN_TYPE = 10
_LEAST_IN_BATCH = 30
_TRIMMED = 0.2
_COMPONENTS = 10
_MOST_GENES = 300
_MOST_VARIABLE = 500
_TINY = 1e-12


def lisi(distance_CK: F64, name_CK: NDArray[np.int64], names: int) -> F64:
    """(C,): effective number of names among each cell's neighbours, 1 to `names`.

    Inverse Simpson index under exponential weights whose entropy is the log of a third of the
    neighbours, 30 at most (Korsunsky et al. 2019).

    Args:
        distance_CK: to each neighbour.
        name_CK: the neighbour's name by number.
        names: how many names there are.
    """
    target = np.log(max(min(_PERPLEXITY, distance_CK.shape[1] / 3), 1.0))
    weight_CK = _weights(np.asarray(distance_CK, dtype=np.float64), target)
    share_CN = np.stack([(weight_CK * (name_CK == n)).sum(axis=1) for n in range(names)], axis=1)
    return np.asarray(1 / np.maximum((share_CN**2).sum(axis=1), _TINY))


def _weights(distance_CK: F64, target: float) -> F64:
    """(C, K) exponential weights of sum 1 and a given entropy in nats, by bisection."""
    near_CK = distance_CK - distance_CK.min(axis=1, keepdims=True)
    low, high = np.zeros(len(near_CK)), np.full(len(near_CK), np.inf)
    beta = np.ones(len(near_CK))
    for _ in range(50):
        weight = np.exp(-near_CK * beta[:, None])
        total = weight.sum(axis=1)
        entropy = np.log(total) + beta * (near_CK * weight).sum(axis=1) / total
        flat = entropy > target
        low, high = np.where(flat, beta, low), np.where(flat, high, beta)
        beta = np.where(np.isinf(high), 2 * beta, (low + high) / 2)
    weight = np.exp(-near_CK * beta[:, None])
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def cilisi(x_CD: NDArray[Any], batch_C: Text, label_C: Text) -> float:
    """Mixing of batches within each type, 0 to 1, mean over cells (CiLISI, Andreatta et al. 2024).

    A difference in composition does not count as a batch effect. Types of fewer than 30 cells or
    of one batch are left out; NaN where none is left.
    """
    scaled = []
    for label in np.unique(label_C):
        rows = np.flatnonzero(label_C == label)
        names, name = np.unique(batch_C[rows], return_inverse=True)
        if len(rows) < _LEAST_IN_BATCH or len(names) < 2:
            continue
        found = nearest(x_CD[rows], min(_NEIGHBOURS, len(rows) // 3))
        own = lisi(found.distances, name[found.indices], len(names))
        scaled.append((own - 1) / (len(names) - 1))
    return float(np.concatenate(scaled).mean()) if scaled else float("nan")


def sc_graph(x_CD: NDArray[Any], log_CG: NDArray[Any], batch_C: Text, label_C: Text) -> float:
    """How the types lie to each other beside how they lie within batches, -1 to 1.

    Within each batch of 30 cells or more the types' centres are taken in its own principal
    components, and their distances averaged over batches; for each type the distances in the
    embedding are correlated with these, near types weighing most. As scGraph (Wang, Leskovec &
    Regev 2024) does: no score of single cells sees that types were moved as wholes.

    Args:
        x_CD: the embedding.
        log_CG: log values before levelling.
        batch_C, label_C: of each cell.

    Returns:
        Mean over types; NaN where fewer than three types have 10 cells in a batch.
    """
    labels = np.unique(label_C)
    sums, times = np.zeros((len(labels),) * 2), np.zeros((len(labels),) * 2)
    for batch in np.unique(batch_C):
        rows = np.flatnonzero(batch_C == batch)
        if len(rows) < _LEAST_IN_BATCH:
            continue
        found = _between_types(_principal(log_CG[rows]), label_C[rows], labels)
        known = np.isfinite(found)
        sums[known] += found[known]
        times += known
    within = np.where(times > 0, sums / np.maximum(times, 1), np.nan)
    after = _between_types(np.asarray(x_CD, dtype=np.float64), label_C, labels)
    scores = [_weighted_correlation(within[:, t], after[:, t], t) for t in range(len(labels))]
    finite = [score for score in scores if np.isfinite(score)]
    return float(np.mean(finite)) if len(finite) > 2 else float("nan")


def _principal(log_CG: NDArray[Any]) -> F64:
    centred = np.asarray(log_CG, dtype=np.float64) - np.mean(log_CG, axis=0)
    kept = min(_COMPONENTS, min(centred.shape) - 1)
    u, s, _ = randomized_svd(centred, kept, random_state=0)
    return np.asarray(u * s)


def _between_types(x_CD: F64, label_C: Text, labels: Text) -> F64:
    """(T, T) distances between trimmed means, each column as a share of its largest."""
    centre = np.full((len(labels), x_CD.shape[1]), np.nan)
    for t, label in enumerate(labels):
        own = np.sort(x_CD[label_C == label], axis=0)
        if len(own) >= _LEAST_IN_TYPE:
            cut = int(_TRIMMED * len(own))
            centre[t] = own[cut : len(own) - cut].mean(axis=0)
    distance = cdist(centre, centre)
    known = np.isfinite(distance).any(axis=0)
    distance[:, known] /= np.maximum(np.nanmax(distance[:, known], axis=0), _TINY)
    return np.asarray(distance)


def _weighted_correlation(within_T: F64, after_T: F64, own: int) -> float:
    """Pearson's, each type weighed by one over its distance within batches."""
    others = np.isfinite(within_T) & np.isfinite(after_T) & (np.arange(len(within_T)) != own)
    if others.sum() < 2:
        return float("nan")
    x, y = within_T[others], after_T[others]
    weight = 1 / np.maximum(x, _TINY)
    weight = weight / weight.sum()
    x, y = x - weight @ x, y - weight @ y
    scale = np.sqrt((weight @ x**2) * (weight @ y**2))
    return float(weight @ (x * y) / scale) if scale > _TINY else float("nan")


def gene_correlation(before_CG: F64, after_CG: F64, batch_C: Text) -> float:
    """How the genes' correlations within batches survive: Pearson's over pairs of genes, -1 to 1.

    Of the 300 most variable genes before, within each batch of 30 cells or more; mean over batches,
    each by its cells. NaN where there is no such batch.

    Args:
        before_CG, after_CG: log values of the same cells and genes.
        batch_C: of each cell.
    """
    found, weight = [], []
    for rows in _large(batch_C):
        before, after = before_CG[rows], after_CG[rows]
        varies = (before.var(axis=0) > _TINY) & (after.var(axis=0) > _TINY)
        genes = np.argsort(-np.where(varies, before.var(axis=0), 0), kind="stable")[:_MOST_GENES]
        genes = genes[varies[genes]]
        if len(genes) < 3:
            continue
        pairs = np.triu_indices(len(genes), 1)
        own, other = (
            np.asarray(np.corrcoef(x[:, genes], rowvar=False))[pairs] for x in (before, after)
        )
        found.append(float(np.corrcoef(own, other)[0, 1]))
        weight.append(len(rows))
    return float(np.average(found, weights=weight)) if found else float("nan")


def variable_overlap(before_CG: F64, after_CG: F64, batch_C: Text) -> float:
    """Share of the most variable genes of each batch that still are, 0 to 1; mean over batches.

    Of the 500 most variable, or a quarter of the genes (scIB's HVG overlap). NaN where no batch has
    30 cells.
    """
    most = min(_MOST_VARIABLE, before_CG.shape[1] // 4)
    if most < 1:
        return float("nan")
    shares = []
    for rows in _large(batch_C):
        own, other = (
            set(np.argsort(-x[rows].var(axis=0), kind="stable")[:most].tolist())
            for x in (before_CG, after_CG)
        )
        shares.append(len(own & other) / most)
    return float(np.mean(shares)) if shares else float("nan")


def _large(batch_C: Text) -> list[NDArray[np.int64]]:
    rows = [np.flatnonzero(batch_C == name) for name in np.unique(batch_C)]
    return [own for own in rows if len(own) >= _LEAST_IN_BATCH]
