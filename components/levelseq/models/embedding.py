"""The levelled embedding: latent states without batches, in the metric of their clusters.

Shapes: B cells, Z latent dimensions, D axes, L levels of the batch tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from levelseq.models.cluster_metric import ClusterMetric
from levelseq.models.latent_levelling import LatentLevelling
from levelseq.models.minibatches import CohortMinibatches, blocks
from levelseq.models.networks import ConditionalVAE

__all__ = ["Embedding", "latent_states"]


@dataclass(frozen=True)
class Embedding:
    """Where a cell lies, from its latent state and its path through the batch tree.

    Attributes:
        levelling: what is taken from the state for its batches.
        metric: the axes of what is left.
    """

    levelling: LatentLevelling
    metric: ClusterMetric

    @classmethod
    def fit(
        cls,
        latent_BZ: Any,
        node_BL: Any,
        n_nodes: Sequence[int],
        seed: int,
        label_B: Any | None = None,
    ) -> Embedding:
        """Both parts from the same cells; labels (-1: unknown) have a part in the metric."""
        levelling = LatentLevelling.fit(latent_BZ, node_BL, n_nodes, seed)
        levelled = levelling.apply(latent_BZ, node_BL, n_nodes)
        return cls(levelling, ClusterMetric.fit(levelled, node_BL[:, -1], seed, label_B))

    def project(self, latent_BZ: Any, node_BL: Any, n_nodes: Sequence[int]) -> Any:
        """(B, D): where cells lie."""
        return self.axes(self.levelling.apply(latent_BZ, node_BL, n_nodes))

    def axes(self, levelled_BZ: Any) -> Any:
        """(B, D): where latent states lie from which the offsets are taken."""
        return self.metric.apply(levelled_BZ).astype(np.float32)

    def with_nodes(self, before: Sequence[int], after: Sequence[int]) -> Embedding:
        """With room for more nodes in each level of the tree."""
        return replace(self, levelling=self.levelling.with_nodes(before, after))

    def with_leaf_of(self, latent_BZ: Any, node_L: Any, n_nodes: Sequence[int]) -> Embedding:
        """With one leaf's offsets measured on its cells."""
        return replace(self, levelling=self.levelling.with_leaf_of(latent_BZ, node_L, n_nodes))

    def to_tensors(self) -> dict[str, Any]:
        """Arrays, for saving."""
        parts = {"levelling": vars(self.levelling), "metric": vars(self.metric)}
        return {
            f"{part}.{name}": value for part, held in parts.items() for name, value in held.items()
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Any]) -> Embedding:
        """The embedding that `to_tensors` described."""
        held: dict[str, dict[str, Any]] = {"levelling": {}, "metric": {}}
        for name, value in tensors.items():
            part, _, field = name.partition(".")
            held[part][field] = value
        return cls(LatentLevelling(**held["levelling"]), ClusterMetric(**held["metric"]))


def latent_states(
    network: ConditionalVAE, minibatches: CohortMinibatches, observations: Any
) -> Any:
    """(B, Z): the means that a network's encoder gives for any number of observations."""
    network.eval()
    with torch.no_grad():
        batches = map(minibatches.tensors, blocks(observations))
        means = [network.encode(batch.scaled_BG, batch.node_BL)[0] for batch in batches]
    return torch.cat(means).cpu().numpy()
