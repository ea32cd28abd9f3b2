"""A network on the batch tree as a model: counts in, latent states and levelled expression out.

The conditional VAE is one; models of other classes differ from it in what they override.

Shapes: S observations, G variable genes, Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from levelseq.cohort import BatchTree, Cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.loader import GeneCounts, gene_counts
from levelseq.errors import BadOption
from levelseq.models.anchors import Anchors
from levelseq.models.embedding import Embedding
from levelseq.models.evidence import Evidence
from levelseq.models.intervals import Intervals
from levelseq.models.label_transfer import LabelTransfer
from levelseq.models.levelled import Levelled, LevelledShard
from levelseq.models.minibatches import CohortMinibatches, blocks, device
from levelseq.models.networks import ConditionalVAE, Minibatch
from levelseq.models.reference_counts import Distributions, counts_on_reference
from levelseq.models.tree_paths import NodeCounts, paths
from levelseq.models.vae_settings import VaeSettings

__all__ = ["VaeModel"]

Path = tuple[str, ...]


@dataclass(frozen=True, repr=False)
class VaeModel:
    """A trained network with all that belongs to it.

    Attributes:
        network: the weights.
        space: genes and scale.
        tree: batches.
        anchors: a sample of the training cohort.
        mean_scaled_G: mean of counts over size factors, for genes that a later cohort lacks.
        place: where cells lie in the levelled embedding.
        labels: of the anchors, where the training cohort has labels.
        evidence: how sure the effects of batches are; None in the first models of 0.1.0.
    """

    KIND: ClassVar[str] = "ConditionalVAE"
    NETWORK: ClassVar[type[ConditionalVAE]] = ConditionalVAE

    network: ConditionalVAE
    space: GeneSpace
    tree: BatchTree
    anchors: Anchors
    mean_scaled_G: Any
    place: Embedding
    labels: LabelTransfer | None = None
    evidence: Evidence | None = None

    def minibatches(self, counts: GeneCounts, obs: pd.DataFrame) -> CohortMinibatches:
        """The tensors of a cohort for this model; unseen nodes fall back to their parents."""
        return CohortMinibatches(counts, self.tree.node_codes(obs), self.mean_scaled_G)

    def __repr__(self) -> str:
        return f"{self.KIND}(genes={len(self.space.variable)}, leaves={len(self.tree.leaves)})"

    @property
    def n_nodes(self) -> NodeCounts:
        """For each level of the tree how many nodes it has, and which follow which."""
        return NodeCounts.of_tree(self.tree)

    def encode(self, batch: Minibatch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of cells' latent states."""
        self.network.eval()
        with torch.no_grad():
            return self.network.encode(batch.scaled_BG, batch.node_BL)

    def log_shares(self, latent_BZ: Tensor, node_BL: Tensor) -> Tensor:
        """(B, G): log of each gene's share of the counts of some latent states on some paths."""
        return self.network.decode(latent_BZ, node_BL)

    def project(self, batch: Minibatch, latent_BZ: Tensor) -> Any:
        """(B, D): where cells of some latent states lie in the embedding."""
        nodes = batch.node_BL.cpu().numpy()
        latent = latent_BZ.cpu().numpy()
        return self.place.project(self.network, latent, nodes, self.n_nodes)

    def latent(self, minibatches: CohortMinibatches, observations: Any) -> Any:
        """(S, Z) means of the observations' latent states."""
        batches = map(minibatches.tensors, blocks(observations))
        return torch.cat([self.encode(batch)[0] for batch in batches]).cpu().numpy()

    def embed(self, minibatches: CohortMinibatches, observations: Any) -> Any:
        """(S, D) where observations lie in the levelled embedding."""
        # Filled as it comes: a list of its parts would be held beside it.
        place_SD = np.empty(
            (len(observations), self.place.metric.loadings_GD.shape[1]), dtype=np.float32
        )
        for rows in blocks(np.arange(len(observations))):
            batch = minibatches.tensors(observations[rows])
            place_SD[rows] = self.project(batch, self.encode(batch)[0])
        return place_SD

    def embedding(
        self, cohort: Cohort, obs: pd.DataFrame, rows: Any = None, *, unseen: bool = False
    ) -> Any:
        """(S, D) levelled embedding; with `unseen` as if no leaf were known.

        Args:
            cohort: where the counts are.
            obs: its observations; their leaves may differ from the cohort's own.
            rows: numbers of the observations asked for; None: all.
            unseen: every observation is taken for its leaf's parent's mean, or for the date before.
        """
        nodes = self.tree.node_codes(obs)
        if unseen:
            nodes = self.tree.as_unseen(nodes)
        counts = gene_counts(cohort, self.space)
        minibatches = CohortMinibatches(counts, nodes, self.mean_scaled_G)
        return self.embed(minibatches, np.arange(len(obs)) if rows is None else rows)

    def levelled(
        self,
        cohort: Cohort,
        reference: Path,
        shards: Sequence[int],
        *,
        interval: bool = False,
        counts: bool = False,
    ) -> Iterator[LevelledShard]:
        """These shards' latent states, and expression as it would be on the reference batch.

        A value is the observed CPM times the ratio of the gene's expected share on the reference
        batch to that on the cell's own batch, at the cell's latent state. What a cell shows beyond
        the model's expectation stays, and a zero stays a zero. The interval holds the value and
        nine tenths of those over draws of the latent state and of what batches do (`Intervals`).
        Counts are those of `counts_on_reference`. An observation of an unseen leaf is taken for its
        parent's mean, or on an ordered level for the latest earlier leaf. Where counts may be lost
        (zero inflation), the expected shares are of what is left: a batch that loses more of a gene
        has its counts raised by as much, on average over cells.

        Args:
            cohort: where the counts are.
            reference: a leaf; the empty path: the root, the mean of all batches.
            shards: numbers of those asked for.
            interval, counts: give these too.
        """
        if counts and self.network.lost_out is not None:
            raise BadOption(
                "a zero-inflated model has no distribution of the counts that were kept",
                where="--reference-counts",
                do="leave it out, or train with --likelihood nb",
            )
        laid_out, obs = gene_counts(cohort, self.space), cohort.obs()
        minibatches = self.minibatches(laid_out, obs)
        starts, target = cohort.starts(), self.tree.codes_of(reference)
        intervals = Intervals(self, obs, target) if interval else None
        for number in shards:
            rows = np.arange(starts[number], starts[number + 1])
            levelled = self._level(minibatches, rows, target, intervals, counts=counts)
            yield LevelledShard(cohort.reader.obs_of(number), laid_out.size_factors[rows], levelled)

    def _level(
        self,
        minibatches: CohortMinibatches,
        rows: Any,
        target: Any,
        intervals: Intervals | None,
        *,
        counts: bool,
    ) -> Levelled:
        self.network.eval()
        with torch.no_grad():
            parts = [
                self._level_block(minibatches, part, target, intervals, counts=counts)
                for part in blocks(rows)
            ]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Levelled(score=self.anchors.support(found["embedding"]), **found)

    def _level_block(
        self,
        minibatches: CohortMinibatches,
        part: Any,
        target: Any,
        intervals: Intervals | None,
        *,
        counts: bool,
    ) -> dict[str, Any]:
        batch = minibatches.tensors(part)
        latent, log_variance = self.encode(batch)
        on_reference = torch.as_tensor(target).to(batch.node_BL).expand(len(part), -1)
        per_million = batch.scaled_BG * (1e6 / self.space.reference_library)

        def corrected(state: Tensor, error: Tensor | float = 0.0) -> Tensor:
            own = self.log_shares(state, batch.node_BL)
            reference = self.log_shares(state, on_reference)
            return torch.log1p(per_million * torch.exp(reference - own + error))

        place, values = self.project(batch, latent), corrected(latent)
        found = {"embedding": place, "values": values}
        if intervals is not None:
            states = latent, log_variance
            bounds = intervals.bounds(corrected, values, batch, states, place, part)
            found["lower"], found["upper"] = bounds
        if counts:
            found["counts"] = self._counts(batch, latent, on_reference, part)
        return {k: v.cpu().numpy() if isinstance(v, Tensor) else v for k, v in found.items()}

    def _counts(self, batch: Minibatch, latent_BZ: Tensor, on_reference: Tensor, rows: Any) -> Any:
        """(B, G) counts on the reference batch; a cell's library is that of its own batch."""
        own, reference = (
            self._expected(batch, latent_BZ, nodes) for nodes in (batch.node_BL, on_reference)
        )
        return counts_on_reference(batch.counts_BG.double().cpu().numpy(), own, reference, rows)

    def _expected(self, batch: Minibatch, latent_BZ: Tensor, node_BL: Tensor) -> Distributions:
        """Of the cells' counts on some paths; means of measured genes add up to the cell's."""
        share_BG = self.log_shares(latent_BZ, node_BL).double().exp()
        if batch.measured_G is not None:
            share_BG = share_BG / (share_BG * batch.measured_G).sum(dim=1, keepdim=True)
        mean_BG = share_BG * batch.counts_BG.double().sum(dim=1, keepdim=True)
        theta = self.network.log_theta(paths(node_BL, self.network.n_nodes)).exp().double()
        theta_BG = theta.expand(mean_BG.shape).contiguous()
        return Distributions(mean_BG.cpu().numpy(), theta_BG.cpu().numpy())

    def with_leaves_of(self, obs: pd.DataFrame) -> Self:
        """A copy whose tree also has the observations' leaves, with no effect of their own yet."""
        tree = self.tree.with_leaves_of(obs)
        n_nodes = NodeCounts.of_tree(tree)
        network = self.NETWORK(self.network.n_genes, n_nodes, self.network.settings)
        state = self.network.state_dict()
        for name, value in network.state_dict().items():
            if value.shape != state[name].shape:
                grown = torch.zeros_like(value)
                grown[: len(state[name])] = state[name]
                state[name] = grown
        network.load_state_dict(state)
        place = self.place.with_nodes(self.n_nodes, n_nodes)
        evidence = self.evidence and self.evidence.with_leaves(len(tree.leaves))
        network = network.to(device()).eval()
        return replace(self, network=network, tree=tree, place=place, evidence=evidence)

    def to_tensors(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Configuration and arrays, for saving."""
        config = asdict(self.network.settings)
        state = self.network.state_dict()
        tensors = {f"network.{name}": value.cpu().numpy() for name, value in state.items()}
        anchors = {f"anchors.{name}": value for name, value in vars(self.anchors).items()}
        place = {f"embedding.{name}": value for name, value in self.place.to_tensors().items()}
        seen = vars(self.evidence) if self.evidence else {}
        evidence = {f"evidence.{name}": value for name, value in seen.items()}
        mean = {"mean_scaled_G": self.mean_scaled_G}
        return config, {**tensors, **anchors, **place, **evidence, **mean}

    @classmethod
    def from_tensors(
        cls, config: dict[str, Any], tensors: dict[str, Any], space: GeneSpace, tree: BatchTree
    ) -> Self:
        """The model that `to_tensors` described."""
        counted = NodeCounts.of_tree(tree)
        network = cls.NETWORK(len(space.variable), counted, VaeSettings(**config))
        network.load_state_dict(
            {name: torch.as_tensor(value) for name, value in _part("network", tensors).items()}
        )
        names = ("latent", "embedding", "leaf", "distance", "noise")
        anchors = Anchors(*(tensors[f"anchors.{name}"] for name in names))
        place = Embedding.from_tensors(_part("embedding", tensors))
        seen = _part("evidence", tensors)
        network.eval()
        network.to(device())
        evidence = Evidence(**seen) if seen else None
        mean_scaled = tensors["mean_scaled_G"]
        return cls(network, space, tree, anchors, mean_scaled, place, evidence=evidence)


def _part(name: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors whose names begin so."""
    start = f"{name}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
