"""The tensors of a cohort's observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from levelseq.cohort.joint_counts import JointCounts
from levelseq.cohort.loader import GeneCounts
from levelseq.models.networks import Minibatch
from levelseq.models.sparse_minibatches import Paths, SparseMinibatch, drawn

__all__ = ["CohortMinibatches", "blocks", "device"]

BLOCK = 2048
THINNED_TO = (0.5, 1.0)


def device() -> torch.device:
    """The accelerator if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class CohortMinibatches:
    """The tensors of a cohort's observations for one gene space and tree."""

    def __init__(
        self, counts: GeneCounts | JointCounts, node_SL: Any, mean_scaled_G: Any | None = None
    ) -> None:
        self._counts = counts
        self._nodes = torch.as_tensor(node_SL)
        self._fill = torch.as_tensor(mean_scaled_G) if mean_scaled_G is not None else None
        self._device = device()
        self._paths = Paths(self._nodes)

    def __len__(self) -> int:
        return self._counts.shape[0]

    def nodes(self, observations: Any) -> Any:
        """(observations, levels) numbers of their nodes, -1 where unknown."""
        return self._nodes[observations].numpy()

    def measured(self) -> Tensor:
        """(G,) 1 for genes that every deposit of the cohort measured."""
        return torch.as_tensor(self._counts.measured, dtype=torch.float32)

    def tensors(self, observations: Any, thinning: np.random.Generator | None = None) -> Minibatch:
        """What the network is shown of the observations.

        Args:
            observations: numbers of the observations.
            thinning: the encoder sees a random share of each cell's counts, so that it learns to
                place a cell where a deeper sequenced one of its kind lies; None: all counts.
        """
        counts = self._counts.rows(observations)
        scaled = counts.copy()
        factors = self._counts.size_factors[observations]
        if thinning is not None:
            share = thinning.uniform(*THINNED_TO, size=len(observations))
            share_of_each = np.repeat(share, np.diff(counts.indptr))
            scaled.data = thinning.binomial(counts.data.astype(np.int64), share_of_each)
            factors = factors * share
        scaled.data = (scaled.data / np.repeat(factors, np.diff(counts.indptr))).astype(np.float32)
        return self._minibatch(counts, scaled, observations)

    def for_losses(
        self, observations: Any, thinned_by: tuple[int, int] | None = None
    ) -> Minibatch | SparseMinibatch:
        """What the network's losses are computed from quickest.

        Args:
            observations: numbers of the observations.
            thinned_by: seed and step that decide what the encoder does not see, as `tensors` does.
        """
        if self._device.type == "cpu" and self._fill is None:
            arrays, factors = self._counts.arrays, self._counts.size_factors
            return drawn(arrays, factors, self._paths, observations, thinned_by)
        generator = None if thinned_by is None else np.random.default_rng(list(thinned_by))
        return self.tensors(observations, generator)

    def _minibatch(self, counts: sp.csr_matrix, scaled: sp.csr_matrix, rows: Any) -> Minibatch:
        counts_BG = torch.from_numpy(counts.toarray()).to(self._device)
        scaled_BG = torch.from_numpy(scaled.toarray()).to(self._device)
        measured = None
        if self._fill is not None and not self._counts.measured.all():
            scaled_BG[:, ~self._counts.measured] = self._fill[~self._counts.measured].to(scaled_BG)
            measured = self.measured().to(self._device)
        return Minibatch(counts_BG, scaled_BG, self._nodes[rows].to(self._device), measured)


def blocks(observations: Any) -> list[Any]:
    """Observations in parts that fit in memory."""
    return np.array_split(observations, max(1, -(-len(observations) // BLOCK)))
