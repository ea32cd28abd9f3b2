"""A loss that is not a number, or a count that no sequencer gives: which gene, in which batch.

Shapes: B cells of a minibatch, G genes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from levelseq.cohort.loader import GeneCounts
from levelseq.errors import BadInput
from levelseq.models.networks import ConditionalVAE, Minibatch

__all__ = ["Names", "NotFinite", "Suspect", "refuse_absurd_counts", "suspect"]

LARGEST_COUNT = 2.0**31
"""More reads than a run gives, for one gene in one cell: a negative number read as an unsigned."""


class NotFinite(BadInput):
    """The loss of a step is not a number.

    Attributes:
        observations: the step's minibatch.
    """

    def __init__(self, loss: float, step: int, observations: Any) -> None:
        super().__init__(
            f"the training loss is {loss} at step {step}",
            do="look for cells with extreme counts, or lower --learning-rate",
        )
        self.observations = observations


class Suspect(NamedTuple):
    """Where a loss stopped being a number: the gene, the cell's place in the minibatch, and how."""

    gene: int
    cell: int
    what: str


@dataclass(frozen=True)
class Names:
    """What may be said of genes and observations: no barcode, no donor.

    Args:
        genes: (G,) ids.
        batch_of: an observation's path in the batch tree.
    """

    genes: Sequence[str]
    batch_of: Callable[[int], Sequence[str]]

    def of(self, gene: int, observation: int) -> str:
        """The gene and the batch of an observation."""
        batch = ">".join(self.batch_of(observation))
        return f"gene {self.genes[gene]} in " + (f"batch {batch}" if batch else "a donor's batch")

    def explained(self, error: NotFinite, network: ConditionalVAE, batch: Minibatch) -> BadInput:
        """The error with the gene and the batch that it comes from.

        Args:
            error: with the minibatch's observations.
            network: with the weights of that step.
            batch: the minibatch.
        """
        gene, cell, what = suspect(network, batch)
        largest = float(batch.counts_BG[:, gene].max())
        name = self.of(gene, int(error.observations[cell]))
        return BadInput(
            f"{error.message}, from {what} of {name}, largest count {largest:g}",
            do="correct its counts or leave it out; without a fault there, lower --learning-rate",
        )


def refuse_absurd_counts(counts: GeneCounts, names: Names) -> None:
    """Look at every count once.

    Raises:
        BadInput: one is not finite, or larger than any sequencer's.
    """
    data, genes, starts = counts.arrays
    if np.max(data, initial=0.0) < LARGEST_COUNT:
        return
    place = int(np.flatnonzero(~(data < LARGEST_COUNT))[0])
    observation = int(np.searchsorted(starts, place, side="right")) - 1
    raise BadInput(
        f"the count of {names.of(int(genes[place]), observation)} is {data[place]:g}",
        do="correct it in the deposit, or leave the gene or the batch out",
    )


def suspect(network: ConditionalVAE, batch: Minibatch) -> Suspect:
    """The gene and the cell that most likely made a loss not finite.

    First whose count is not finite, then whose gene has weights that are not, then whose
    contribution to the loss is largest or not finite; the largest count among those.
    """
    counts_BG = batch.counts_BG.nan_to_num(nan=float("inf"))
    for doubted in _doubts(network, batch):
        # What is true of all genes tells nothing of one.
        if doubted[1].any() and not doubted[1].all():
            break
    what, doubt_BG = doubted
    place = int(torch.where(doubt_BG, counts_BG, -1.0).argmax())
    return Suspect(place % network.n_genes, place // network.n_genes, what)


def _doubts(network: ConditionalVAE, batch: Minibatch) -> Iterator[tuple[str, Tensor]]:
    """What may be at fault, and in which cells and genes, the most telling first."""
    counts_BG = batch.counts_BG
    yield "the counts", ~counts_BG.isfinite()
    yield "the weights", (~_finite_weights(network)).expand_as(counts_BG)
    loss_BG = _contributions(network, batch).nan_to_num(nan=float("inf"))
    yield "the likelihood", loss_BG == loss_BG.max()


def _finite_weights(network: ConditionalVAE) -> Tensor:
    """(G,): whether all weights of a gene are finite."""
    own = [network.decoder_out.weight.t(), network.decoder_out.bias, network.log_theta_G]
    own += [network.encoder_in.weight, *network.gene_nodes.levels]
    if network.lost_out is not None:
        own += [network.lost_out.weight.t(), network.lost_out.bias]
    if network.theta_nodes is not None:
        own += [*network.theta_nodes.levels]
    return (
        torch.cat([weight.detach().reshape(-1, network.n_genes) for weight in own])
        .isfinite()
        .all(0)
    )


def _contributions(network: ConditionalVAE, batch: Minibatch) -> Tensor:
    """(B, G): negative log-likelihood at the mean of the latent state."""
    network.eval()
    with torch.no_grad():
        mean_BZ, _ = network.encode(batch.scaled_BG, batch.node_BL)
        return -network.log_prob(batch, mean_BZ)
