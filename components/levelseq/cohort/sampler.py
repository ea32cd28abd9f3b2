"""What to read: the observations of each minibatch, by step number alone."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["EpochSampler"]

Indices = np.ndarray[Any, np.dtype[np.int64]]


class EpochSampler:
    """Every observation once an epoch, in an order that seed and epoch decide.

    A step's minibatch depends on nothing else, so a resumed run continues without saved state.

    Args:
        observations: (n,) the numbers to draw from.
        batch_size: observations in a minibatch; the rest of an epoch is spread over its
            minibatches, so that none is small.
        seed: of the order.

    Attributes:
        steps_per_epoch: minibatches of an epoch.
        smallest: observations of the smallest.
    """

    def __init__(self, observations: Indices, batch_size: int, seed: int) -> None:
        self._observations = observations
        self.steps_per_epoch = max(1, round(len(observations) / batch_size))
        self._seed = seed
        self._epoch = -1
        self._order = observations
        edges = np.linspace(0, len(observations), self.steps_per_epoch + 1)
        self._edges = edges.astype(np.int64)
        self.smallest = int(np.diff(self._edges).min())

    def minibatch(self, step: int) -> Indices:
        """The observations of a step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self._seed, epoch]).permutation(self._observations)
        return self._order[self._edges[position] : self._edges[position + 1]]

    def end_of_epoch(self, step: int) -> int:
        """The first step of the epoch after a step's."""
        return (step // self.steps_per_epoch + 1) * self.steps_per_epoch
