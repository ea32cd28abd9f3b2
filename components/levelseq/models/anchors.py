"""Anchor cells: a sample of the training cohort, kept with the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

__all__ = ["Anchors"]

Floats = np.ndarray[Any, np.dtype[np.float32]]
NEIGHBOURS = 15


@dataclass(frozen=True)
class Anchors:
    """What later cells are compared with.

    Shapes: A anchors, Z latent dimensions, D dimensions of the embedding.

    Attributes:
        latent: (A, Z) the network's latent states.
        embedding: (A, D) where the anchors lie in the levelled embedding.
        leaf: (A,) number of each anchor's leaf in the batch tree.
        distance: (A,) sorted distances of the anchors to their 15th nearest other anchor.
        noise: (D,) mean variance of a cell's place given its counts; 0 where the model has none.
    """

    MOST = 5000

    latent: Floats
    embedding: Floats
    leaf: np.ndarray[Any, np.dtype[np.int64]]
    distance: Floats
    noise: Floats

    @classmethod
    def none(cls) -> Anchors:
        """No anchors, for a model that is being fitted."""
        empty = np.zeros((0, 1), dtype=np.float32)
        return cls(empty, empty, np.zeros(0, dtype=np.int64), empty[:, 0], empty[0:0, 0])

    @classmethod
    def choose(cls, n: int, seed: int) -> Any:
        """Sorted numbers of at most 5,000 of n cells."""
        return np.sort(np.random.default_rng([seed, 2]).permutation(n)[: cls.MOST])

    @classmethod
    def of(cls, latent: Floats, embedding: Floats, leaf: Any, noise: Floats) -> Anchors:
        """The anchors of some cells."""
        neighbours = min(NEIGHBOURS + 1, len(embedding))
        nearest = NearestNeighbors(n_neighbors=neighbours).fit(embedding)
        distance = np.sort(nearest.kneighbors(embedding)[0][:, -1]).astype(np.float32)
        return cls(latent, embedding, np.asarray(leaf, dtype=np.int64), distance, noise)

    def support(self, embedding: Floats) -> Floats:
        """(n,): share of anchors that lie at least as far from their neighbours as a cell does.

        A conformal p-value of belonging to the training cohort: about uniform for its own cells,
        near 0 for a cell of a kind that the model has not seen.
        """
        neighbours = min(NEIGHBOURS, len(self.embedding))
        nearest = NearestNeighbors(n_neighbors=neighbours).fit(self.embedding)
        distance = nearest.kneighbors(embedding)[0][:, -1]
        farther = len(self.distance) - np.searchsorted(self.distance, distance, side="left")
        return np.asarray((farther + 1) / (len(self.distance) + 1), dtype=np.float32)
