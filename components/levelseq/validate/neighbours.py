"""Exact nearest neighbours of a few thousand observations: the same answer every time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

__all__ = ["Neighbours", "nearest"]


class Neighbours(NamedTuple):
    """(observations, k) row numbers and Euclidean distances, nearest first."""

    indices: np.ndarray[Any, np.dtype[np.int64]]
    distances: np.ndarray[Any, np.dtype[np.float64]]


def nearest(x_ND: np.ndarray[Any, Any], k: int, *, itself: bool = False) -> Neighbours:
    """The k nearest neighbours of each observation.

    Approximate search (pynndescent) is no faster at this size, compiles for twenty seconds, and
    depends on the number of threads.

    Args:
        x_ND: observations x dimensions.
        k: neighbours; no more than there are observations.
        itself: whether each observation is its own first neighbour, and counts among the k.
    """
    search = NearestNeighbors(algorithm="brute").fit(x_ND)
    k = min(k, len(x_ND) if itself else len(x_ND) - 1)
    if not itself:
        distances, indices = search.kneighbors(n_neighbors=k)
        return Neighbours(indices.astype(np.int64), distances)
    distances, indices = search.kneighbors(n_neighbors=k - 1)
    own = np.arange(len(x_ND))[:, None]
    return Neighbours(np.hstack([own, indices]), np.hstack([np.zeros((len(own), 1)), distances]))
