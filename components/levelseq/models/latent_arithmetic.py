"""Latent arithmetic: a VAE that knows no batch, and batches as offsets in its latent space.

After scGen (Lotfollahi et al. 2019), which subtracts from the cells of a type the way from one
batch to the other. Here the types are soft clusters, so that no label is needed, and the offsets
add up along the batch tree and shrink towards their parent's (`latent_levelling`). What a batch
does to a cell is what the decoder makes of the way between two places: it has no other knowledge
of batches, and no adversary has a part in its training.

Shapes: B cells, G genes, Z latent dimensions, L levels of the batch tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from levelseq.models.conditional_vae import VaeModel
from levelseq.models.networks import ConditionalVAE, Minibatch
from levelseq.models.vae_settings import DEFAULTS, VaeSettings

__all__ = ["ArithmeticModel", "PooledVAE"]


class PooledVAE(ConditionalVAE):
    """The conditional VAE without conditions: all cells are taken for those of one batch.

    Args:
        n_genes: G.
        n_nodes: of the batch tree; none of them has a part in the network.
        settings: as the conditional VAE's.
    """

    def __init__(
        self, n_genes: int, n_nodes: Sequence[int], settings: VaeSettings = DEFAULTS
    ) -> None:
        super().__init__(n_genes, (), settings)


class ArithmeticModel(VaeModel):
    """A model whose latent states are the network's less what their batches add."""

    KIND: ClassVar[str] = "LatentArithmetic"
    NETWORK: ClassVar[type[ConditionalVAE]] = PooledVAE

    def encode(self, batch: Minibatch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of cells' latent states, without their batches' offsets."""
        mean, log_variance = super().encode(batch)
        nodes = batch.node_BL.cpu().numpy()
        levelled = self.place.levelling.apply(mean.cpu().numpy(), nodes, self.n_nodes)
        return torch.as_tensor(levelled).to(mean), log_variance

    def log_shares(self, latent_BZ: Tensor, node_BL: Tensor) -> Tensor:
        """(B, G): log of each gene's share of the counts of latent states with paths' offsets."""
        latent, nodes = latent_BZ.cpu().numpy(), node_BL.cpu().numpy()
        effect = self.place.levelling.effect(latent, nodes, self.n_nodes)
        return self.network.decode(latent_BZ + torch.as_tensor(effect).to(latent_BZ), node_BL)

    def project(self, batch: Minibatch, latent_BZ: Tensor) -> Any:
        """(B, D): where cells of some latent states lie; their offsets are taken off already."""
        return self.place.axes(self.network, latent_BZ.cpu().numpy())
