"""The conditional VAE as a model: counts in, latent states and levelled expression out.

Shapes: S observations, G variable genes, Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from levelseq.cohort import BatchTree, Cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.loader import GeneCounts
from levelseq.models.anchors import Anchors
from levelseq.models.levelled import Levelled, LevelledShard
from levelseq.models.networks import ConditionalVAE, Minibatch

__all__ = ["CohortMinibatches", "VaeModel", "blocks", "device", "levelled_expression"]

Path = tuple[str, ...]
BLOCK = 2048
DRAWS = 40
THINNED_TO = (0.5, 1.0)
RESIDUAL_KEPT = 0.3


def device() -> torch.device:
    """The accelerator if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class CohortMinibatches:
    """The tensors of a cohort's observations (or of some `rows`) for one gene space and tree."""

    def __init__(
        self, counts: GeneCounts, node_SL: Any, mean_scaled_G: Any | None = None, rows: Any = None
    ) -> None:
        self._counts = counts
        self._nodes = torch.as_tensor(node_SL)
        self._fill = torch.as_tensor(mean_scaled_G) if mean_scaled_G is not None else None
        self._rows = np.arange(counts.shape[0]) if rows is None else rows
        self._device = device()

    def __len__(self) -> int:
        return len(self._rows)

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
        rows = self._rows[observations]
        counts = self._counts.rows(rows)
        scaled = counts.copy()
        factors = self._counts.size_factors[rows]
        if thinning is not None:
            share = thinning.uniform(*THINNED_TO, size=len(rows))
            share_of_each = np.repeat(share, np.diff(counts.indptr))
            scaled.data = thinning.binomial(counts.data.astype(np.int64), share_of_each)
            factors = factors * share
        scaled.data = (scaled.data / np.repeat(factors, np.diff(counts.indptr))).astype(np.float32)
        return self._minibatch(counts, scaled, rows)

    def _minibatch(self, counts: sp.csr_matrix, scaled: sp.csr_matrix, rows: Any) -> Minibatch:
        counts_BG = torch.from_numpy(counts.toarray()).to(self._device)
        scaled_BG = torch.from_numpy(scaled.toarray()).to(self._device)
        measured = None
        if self._fill is not None and not self._counts.measured.all():
            scaled_BG[:, ~self._counts.measured] = self._fill[~self._counts.measured].to(scaled_BG)
            measured = self.measured().to(self._device)
        return Minibatch(counts_BG, scaled_BG, self._nodes[rows].to(self._device), measured)


@dataclass(frozen=True)
class VaeModel:
    """A trained network with all that belongs to it.

    Attributes:
        network: the weights.
        space: genes and scale.
        tree: batches.
        anchors: a sample of the training cohort.
        mean_scaled_G: mean of counts over size factors, for genes that a later cohort lacks.
        components: centre (G,) and loadings (G, D) of the embedding.
    """

    KIND: ClassVar[str] = "ConditionalVAE"

    network: ConditionalVAE
    space: GeneSpace
    tree: BatchTree
    anchors: Anchors
    mean_scaled_G: Any
    components: tuple[Any, Any]

    def minibatches(self, counts: GeneCounts, obs: pd.DataFrame) -> CohortMinibatches:
        """The tensors of a cohort for this model; unseen nodes fall back to their parents."""
        return CohortMinibatches(counts, self.tree.node_codes(obs), self.mean_scaled_G)

    def encode(self, minibatches: CohortMinibatches, observations: Any) -> Any:
        """(S, Z) mean of each observation's latent state."""
        self.network.eval()
        parts = []
        with torch.no_grad():
            for part in blocks(observations):
                batch = minibatches.tensors(part)
                latent, _ = self.network.encode(batch.scaled_BG, batch.node_BL)
                parts.append(latent.cpu().numpy())
        return np.concatenate(parts)

    def embed(self, minibatches: CohortMinibatches, observations: Any) -> Any:
        """(S, D) levelled embedding: principal components of `levelled_expression`."""
        parts = []
        with torch.no_grad():
            for part in blocks(observations):
                batch = minibatches.tensors(part)
                latent, _ = self.network.encode(batch.scaled_BG, batch.node_BL)
                parts.append(self.project(batch, latent))
        return np.concatenate(parts)

    def project(self, batch: Minibatch, latent_BZ: Tensor) -> Any:
        """(B, D): where cells of some latent states and counts lie in the embedding."""
        centre_G, loadings_GD = self.components
        expression = levelled_expression(self.network, self.space, batch, latent_BZ)
        return (expression - centre_G) @ loadings_GD

    def embedding(self, cohort: Cohort, obs: pd.DataFrame, *, unseen: bool = False) -> Any:
        """(S, D) levelled embedding; with `unseen` as if no leaf were known.

        Args:
            cohort: where the counts are.
            obs: its observations; their leaves may differ from the cohort's own.
            unseen: every observation is taken for its leaf's parent's mean.
        """
        nodes = self.tree.node_codes(obs)
        if unseen:
            nodes[:, -1] = -1
        with GeneCounts(cohort, self.space) as counts:
            minibatches = CohortMinibatches(counts, nodes, self.mean_scaled_G)
            return self.embed(minibatches, np.arange(len(obs)))

    def levelled(
        self, cohort: Cohort, reference: Path, *, interval: bool = False
    ) -> Iterator[LevelledShard]:
        """Each shard's latent states, and expression as it would be on the reference batch.

        A value is the observed CPM times the ratio of the gene's expected share on the reference
        batch to that on the cell's own batch, at the cell's latent state. What a cell shows beyond
        the model's expectation stays, and a zero stays a zero. The interval holds 90 % of the
        values over draws of the latent state. An observation of an unseen leaf is taken for its
        parent's mean.
        """
        with GeneCounts(cohort, self.space) as counts:
            minibatches = self.minibatches(counts, cohort.obs())
            start = 0
            for shard in cohort.shards():
                rows = np.arange(start, start + shard.n_obs)
                levelled = self._level(minibatches, rows, counts, reference, interval)
                yield LevelledShard(shard.obs, counts.size_factors[rows], levelled)
                start += shard.n_obs

    def _level(
        self,
        minibatches: CohortMinibatches,
        rows: Any,
        counts: GeneCounts,
        reference: Path,
        interval: bool,
    ) -> Levelled:
        target = self.tree.node_codes(pd.DataFrame([reference], columns=list(self.tree.levels)))[0]
        self.network.eval()
        with torch.no_grad():
            parts = [
                self._level_block(minibatches, part, target, counts, interval)
                for part in blocks(rows)
            ]
        embedding, *values = (np.concatenate(column) for column in zip(*parts))
        return Levelled(embedding, values[0], self.anchors.support(embedding), *values[1:])

    def _level_block(
        self,
        minibatches: CohortMinibatches,
        part: Any,
        target: Any,
        counts: GeneCounts,
        interval: bool,
    ) -> tuple[Any, ...]:
        batch = minibatches.tensors(part)
        latent, log_variance = self.network.encode(batch.scaled_BG, batch.node_BL)
        on_reference = torch.as_tensor(target).to(batch.node_BL).expand(len(part), -1)
        per_million = batch.scaled_BG * (1e6 / self.space.reference_library)

        def corrected(state: Tensor) -> Tensor:
            own = self.network.decode(state, batch.node_BL)
            reference = self.network.decode(state, on_reference)
            return torch.log1p(per_million * torch.exp(reference - own))

        values = [corrected(latent)]
        if interval:
            spread = (log_variance / 2).exp()
            draws = torch.stack(
                [corrected(latent + spread * torch.randn_like(latent)) for _ in range(DRAWS)]
            )
            values += [draws.quantile(0.05, dim=0), draws.quantile(0.95, dim=0)]
        return (self.project(batch, latent), *(v.cpu().numpy() for v in values))

    def with_leaves_of(self, obs: pd.DataFrame) -> VaeModel:
        """A copy whose tree also has the observations' leaves, with no effect of their own yet."""
        tree = self.tree.with_leaves_of(obs)
        network = ConditionalVAE(
            self.network.n_genes,
            [len(nodes) for nodes in tree.nodes],
            self.network.n_hidden,
            self.network.n_latent,
            self.network.dropout.p,
        )
        state = self.network.state_dict()
        for name, value in network.state_dict().items():
            if value.shape != state[name].shape:
                grown = torch.zeros_like(value)
                grown[: len(state[name])] = state[name]
                state[name] = grown
        network.load_state_dict(state)
        return replace(self, network=network.to(device()).eval(), tree=tree)

    def to_tensors(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Configuration and arrays, for saving."""
        config = {
            "n_hidden": self.network.n_hidden,
            "n_latent": self.network.n_latent,
            "dropout": self.network.dropout.p,
        }
        state = self.network.state_dict()
        tensors = {f"network.{name}": value.cpu().numpy() for name, value in state.items()}
        anchors = {f"anchors.{name}": value for name, value in vars(self.anchors).items()}
        centre_G, loadings_GD = self.components
        return config, {
            **tensors,
            **anchors,
            "mean_scaled_G": self.mean_scaled_G,
            "embedding.centre_G": centre_G,
            "embedding.loadings_GD": loadings_GD,
        }

    @classmethod
    def from_tensors(
        cls, config: dict[str, Any], tensors: dict[str, Any], space: GeneSpace, tree: BatchTree
    ) -> VaeModel:
        """The model that `to_tensors` described."""
        n_nodes = [len(nodes) for nodes in tree.nodes]
        network = ConditionalVAE(len(space.variable), n_nodes, **config)
        network.load_state_dict(
            {
                name.removeprefix("network."): torch.as_tensor(value)
                for name, value in tensors.items()
                if name.startswith("network.")
            }
        )
        names = ("latent", "embedding", "leaf", "distance", "noise")
        anchors = Anchors(*(tensors[f"anchors.{name}"] for name in names))
        components = tensors["embedding.centre_G"], tensors["embedding.loadings_GD"]
        network.eval()
        network.to(device())
        return cls(network, space, tree, anchors, tensors["mean_scaled_G"], components)


def levelled_expression(
    network: ConditionalVAE, space: GeneSpace, batch: Minibatch, latent_BZ: Tensor
) -> Any:
    """(B, G) log expression on the root of the batch tree, most of its noise taken out.

    What the decoder expects of a latent state, plus a part of what the counts show beyond it:
    log1p of counts per 10,000, both. Decoded values alone place cells by what the model has
    learned; the part of the residual keeps finer differences in their places too.
    """
    network.eval()
    with torch.no_grad():
        root = network.decode(latent_BZ, torch.full_like(batch.node_BL, -1))
        own = network.decode(latent_BZ, batch.node_BL)
        expected = torch.log1p(root.exp() * (1e4 * space.variable_share))
        per_10k = batch.scaled_BG * (1e4 / space.reference_library)
        shown = torch.log1p(per_10k * torch.exp(root - own))
        levelled: Any = (expected + RESIDUAL_KEPT * (shown - expected)).cpu().numpy()
    return levelled


def blocks(observations: Any) -> list[Any]:
    """Observations in parts that fit in memory."""
    return np.array_split(observations, max(1, -(-len(observations) // BLOCK)))
