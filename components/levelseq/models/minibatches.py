"""The tensors of a cohort's observations."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from levelseq.cohort.joint_counts import JointCounts
from levelseq.cohort.loader import GeneCounts
from levelseq.models.augmentation import Augmentation
from levelseq.models.device_counts import DeviceCounts, DeviceMinibatch, bytes_of
from levelseq.models.networks import Minibatch
from levelseq.models.sparse_minibatches import ONLY_THINNED, Paths, SparseMinibatch, drawn
from levelseq.progress import notice

__all__ = ["CohortMinibatches", "blocks", "device"]

BLOCK = 2048
MOST_OF_FREE = 0.5
"""Of the accelerator's free memory that counts may take; the rest is for the training."""


def device() -> torch.device:
    """This process's accelerator if there is one, by number: threads have defaults of their own."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


class CohortMinibatches:
    """The tensors of a cohort's observations for one gene space and tree.

    Args:
        counts: of the observations.
        node_SL: their nodes in the batch tree, -1 where unknown.
        mean_scaled_G: what genes that were not measured are taken for; None: all were.
        augmentation: what is changed at random in training.
        label_S: numbers of labels that training is to use, -1 where unknown; None: none.
        fused: whether the network has losses of a sparse minibatch, see `ConditionalVAE.fused`.
    """

    def __init__(
        self,
        counts: GeneCounts | JointCounts,
        node_SL: Any,
        mean_scaled_G: Any | None = None,
        augmentation: Augmentation = ONLY_THINNED,
        label_S: Any | None = None,
        *,
        fused: bool = True,
    ) -> None:
        self._counts = counts
        self._nodes = torch.as_tensor(node_SL)
        self._fill = torch.as_tensor(mean_scaled_G) if mean_scaled_G is not None else None
        self._augmentation = augmentation
        self._labels = None if label_S is None else torch.as_tensor(label_S)
        self._device = device()
        self._fused = fused and self._fill is None
        self._paths = Paths(self._nodes)

    def __len__(self) -> int:
        return self._counts.shape[0]

    def nodes(self, observations: Any) -> Any:
        """(observations, levels) numbers of their nodes, -1 where unknown."""
        return self._nodes[observations].numpy()

    def library(self, observations: Any) -> Any:
        """(observations,) float64: the sum of each one's counts."""
        data, _, starts_S = self._counts.arrays
        ends = zip(starts_S[observations], starts_S[observations + 1])
        return np.array([data[first:end].sum(dtype=np.float64) for first, end in ends])

    def measured(self) -> Tensor:
        """(G,) 1 for genes that every deposit of the cohort measured."""
        return torch.as_tensor(self._counts.measured, dtype=torch.float32)

    def tensors(self, observations: Any) -> Minibatch:
        """What the network is shown of the observations as they are.

        Args:
            observations: numbers of the observations.
        """
        counts = self._counts.rows(observations)
        scaled = counts.copy()
        factors = self._counts.size_factors[observations]
        scaled.data = (scaled.data / np.repeat(factors, np.diff(counts.indptr))).astype(np.float32)
        return self._minibatch(counts, scaled, self._nodes[observations])

    def for_losses(
        self, observations: Any, drawn_by: tuple[int, int] | None = None
    ) -> Minibatch | SparseMinibatch | DeviceMinibatch:
        """What the network's losses are computed from quickest.

        Args:
            observations: numbers of the observations.
            drawn_by: seed and step that decide what is changed at random; None: nothing is.
        """
        if self._on_device is not None:
            thinned = drawn_by is not None and self._augmentation.thinning
            return DeviceMinibatch(self._on_device, observations, thinned)
        arrays, factors = self._counts.arrays, self._counts.size_factors
        batch = drawn(arrays, factors, self._paths, observations, drawn_by, self._augmentation)
        if self._labels is not None:
            batch = batch._replace(label_B=self._labels[observations])
        if self._fused and self._device.type == "cpu":
            return batch
        shape = len(observations), self._counts.shape[1]
        counts, scaled = (
            sp.csr_matrix((values_N, batch.gene_N, batch.starts_B), shape)
            for values_N in (batch.count_N, batch.shown_N)
        )
        dense = self._minibatch(counts, scaled, batch.node_PL[torch.from_numpy(batch.place_B)])
        styles = batch.node_PL[torch.from_numpy(batch.style_B)].to(self._device)
        labels = None if batch.label_B is None else batch.label_B.to(self._device)
        return dense._replace(style_BL=styles, label_B=labels)

    @cached_property
    def _on_device(self) -> DeviceCounts | None:
        """All counts on the accelerator; None: there is none, or they have no place in it."""
        plain = self._augmentation._replace(thinning=True) == ONLY_THINNED
        if not (self._device.type == "cuda" and self._fused and plain):
            return None
        if bytes_of(self._counts) > MOST_OF_FREE * _free_bytes(self._device):
            notice("train", "the counts have no place on the device, and go there by minibatches")
            return None
        return DeviceCounts(self._counts, self._paths, self._labels, self._device)

    def _minibatch(
        self, counts: sp.csr_matrix, scaled: sp.csr_matrix, node_BL: Tensor
    ) -> Minibatch:
        counts_BG = torch.from_numpy(counts.toarray()).to(self._device)
        scaled_BG = torch.from_numpy(scaled.toarray()).to(self._device)
        measured = None
        if self._fill is not None and not self._counts.measured.all():
            scaled_BG[:, ~self._counts.measured] = self._fill[~self._counts.measured].to(scaled_BG)
            measured = self.measured().to(self._device)
        return Minibatch(counts_BG, scaled_BG, node_BL.to(self._device), measured)


def _free_bytes(device: torch.device) -> int:
    """Of a device's memory, with what torch has taken and does not use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + unused)


def blocks(observations: Any) -> list[Any]:
    """Observations in parts that fit in memory."""
    return np.array_split(observations, max(1, -(-len(observations) // BLOCK)))
