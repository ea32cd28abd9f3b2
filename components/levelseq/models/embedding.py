"""The levelled embedding: what is expected of a cell without its batch, in its clusters' metric.

A cell's latent state loses what is left of its batches; what the decoder then expects of it in no
batch, as log expression, is laid on axes that tell clusters apart. Distances between latent states
say how unlikely a way is under a prior; between expressions, how different cells are.

Shapes: B cells, G genes, Z latent dimensions, D axes, L levels of the batch tree.
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

__all__ = ["Embedding", "expected_expression", "latent_states"]

_OF_EXPRESSION = ("centre_G", "loadings_GD")
_OF_STATES = ("centre_Z", "loadings_ZD")


@dataclass(frozen=True)
class Embedding:
    """Where a cell lies, from its latent state and its path through the batch tree.

    Attributes:
        levelling: what is taken from the state for its batches.
        metric: the axes of what is expected of what is left.
        of_states: whether the axes are of what is left itself, as in the first models of 0.1.0.
    """

    levelling: LatentLevelling
    metric: ClusterMetric
    of_states: bool = False

    @classmethod
    def fit(
        cls,
        network: ConditionalVAE,
        latent_BZ: Any,
        node_BL: Any,
        n_nodes: Sequence[int],
        seed: int,
        condition_B: Any | None = None,
        label_B: Any | None = None,
    ) -> Embedding:
        """Both parts from the same cells.

        Args:
            network: trained.
            latent_BZ: the states that its encoder gives.
            node_BL: for each level the number of a cell's node.
            n_nodes: for each level how many nodes it has.
            seed: of the fit.
            condition_B, label_B: numbers that have a part in the metric, see `ClusterMetric.fit`.
        """
        levelling = LatentLevelling.fit(latent_BZ, node_BL, n_nodes, seed)
        levelled = levelling.apply(latent_BZ, node_BL, n_nodes)
        expression, leaf = expected_expression(network, levelled), node_BL[:, -1]
        metric = ClusterMetric.fit(expression, levelled, leaf, seed, condition_B, label_B)
        return cls(levelling, metric)

    def project(
        self, network: ConditionalVAE, latent_BZ: Any, node_BL: Any, n_nodes: Sequence[int]
    ) -> Any:
        """(B, D): where cells lie."""
        return self.axes(network, self.levelling.apply(latent_BZ, node_BL, n_nodes))

    def axes(self, network: ConditionalVAE, levelled_BZ: Any) -> Any:
        """(B, D): where latent states lie from which the offsets are taken."""
        shown = levelled_BZ if self.of_states else expected_expression(network, levelled_BZ)
        return self.metric.apply(shown).astype(np.float32)

    def with_nodes(self, before: Sequence[int], after: Sequence[int]) -> Embedding:
        """With room for more nodes in each level of the tree."""
        return replace(self, levelling=self.levelling.with_nodes(before, after))

    def with_leaf_of(self, latent_BZ: Any, node_L: Any, n_nodes: Sequence[int]) -> Embedding:
        """With one leaf's offsets measured on its cells."""
        return replace(self, levelling=self.levelling.with_leaf_of(latent_BZ, node_L, n_nodes))

    def to_tensors(self) -> dict[str, Any]:
        """Arrays, for saving."""
        names = _OF_STATES if self.of_states else _OF_EXPRESSION
        metric = dict(zip(names, (self.metric.centre_G, self.metric.loadings_GD)))
        parts = {"levelling": vars(self.levelling), "metric": metric}
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
        of_states = set(held["metric"]) == set(_OF_STATES)
        metric = (held["metric"][name] for name in (_OF_STATES if of_states else _OF_EXPRESSION))
        return cls(LatentLevelling(**held["levelling"]), ClusterMetric(*metric), of_states)


def expected_expression(network: ConditionalVAE, latent_BZ: Any, *, per: float = 1e4) -> Any:
    """(B, G) float32: log1p of each gene's expected counts among so many, in no batch."""
    network.eval()
    at = next(network.parameters()).device
    with torch.no_grad():
        expected = []
        for part in blocks(np.asarray(latent_BZ, dtype=np.float32)):
            nodes = torch.full((len(part), len(network.n_nodes)), -1, device=at)
            share = network.decode(torch.as_tensor(part).to(at), nodes).exp()
            expected.append(torch.log1p(share * per).cpu().numpy())
    return np.concatenate(expected)


def latent_states(
    network: ConditionalVAE, minibatches: CohortMinibatches, observations: Any
) -> Any:
    """(B, Z): the means that a network's encoder gives for any number of observations."""
    network.eval()
    with torch.no_grad():
        batches = map(minibatches.tensors, blocks(observations))
        means = [network.encode(batch.scaled_BG, batch.node_BL)[0] for batch in batches]
    return torch.cat(means).cpu().numpy()
