"""The published integration scores (scIB, Luecken 2022); the one place that imports scib-metrics.

Neighbours are exact, and BRAS and kBET have their own files (`bras`, `kbet`): the same scores
without a minute of compiling, equal in equal runs. Importing scib-metrics takes seconds: it happens
on the first score, once a run.
"""

from __future__ import annotations

import functools
import logging
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.bras import bras
from levelseq.validate.kbet import kbet_per_label
from levelseq.validate.neighbours import Neighbours, nearest

__all__ = ["NEIGHBOURS", "Scores", "ilisi", "scores", "version"]

Text = NDArray[Any]

NEIGHBOURS = 90


class Scores(NamedTuple):
    """Bio conservation, batch correction, and .6 bio + .4 batch; each metric by its name."""

    bio: float
    batch: float
    total: float
    metrics: dict[str, float]


def version() -> str:
    """Of scib-metrics: values of different versions are not comparable."""
    return str(_library().__version__)


def ilisi(found: Neighbours, batch_C: Text) -> float:
    """Scaled iLISI, 0 (each neighbourhood has one batch) to 1 (all evenly).

    Args:
        found: neighbours with the observation itself as the first of them.
        batch_C: batch of each observation, two or more.
    """
    return float(_library().ilisi_knn(_results(found), batch_C))


def scores(x_CD: NDArray[Any], before_CD: NDArray[Any], batch_C: Text, label_C: Text) -> Scores:
    """All default metrics of scib-metrics' Benchmarker, not rescaled.

    Args:
        x_CD: the embedding to score, C cells (observations) x dimensions.
        before_CD: the unintegrated embedding.
        batch_C: batches, two or more.
        label_C: labels, two or more.
    """
    scib = _library()
    x = np.ascontiguousarray(x_CD, dtype=np.float32)
    found = nearest(x, min(NEIGHBOURS, len(x)), itself=True)
    results = _results(found)
    clusters = scib.nmi_ari_cluster_labels_kmeans(x, label_C)
    bio = {
        "isolated_labels": scib.isolated_labels(x, label_C, batch_C),
        "kmeans_nmi": clusters["nmi"],
        "kmeans_ari": clusters["ari"],
        "silhouette_label": scib.silhouette_label(x, label_C),
        "clisi": scib.clisi_knn(results, label_C),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = np.ascontiguousarray(before_CD, dtype=np.float32)
        batch = {
            "bras": bras(x, label_C, batch_C),
            "ilisi": scib.ilisi_knn(results, batch_C),
            "kbet": kbet_per_label(found, batch_C, label_C),
            "graph_connectivity": scib.graph_connectivity(results.subset_neighbors(15), label_C),
            "pcr_comparison": scib.pcr_comparison(before, x, batch_C, categorical=True),
        }
    by_bio, by_batch = _mean(bio), _mean(batch)
    metrics = {name: float(value) for name, value in (bio | batch).items()}
    return Scores(by_bio, by_batch, 0.6 * by_bio + 0.4 * by_batch, metrics)


def _mean(metrics: dict[str, Any]) -> float:
    return float(np.nanmean([float(value) for value in metrics.values()]))


def _results(found: Neighbours) -> Any:
    distances = np.asarray(found.distances, dtype=np.float32)
    return _library().nearest_neighbors.NeighborsResults(indices=found.indices, distances=distances)


@functools.cache
def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scib_metrics
    scib_metrics.settings.verbosity = logging.ERROR
    return scib_metrics
