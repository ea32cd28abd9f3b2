"""A training step on a sparse minibatch, by hand: autograd's calls would take as long as the rest.

Each layer's `forward` keeps what its `backward` needs; `backward` adds the slopes of the layer's
parameters to those that they have, and gives those of what came in.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from levelseq.models.fused_decoder import Reconstruction
from levelseq.models.hidden_layer import HiddenLayer
from levelseq.models.latent_draw import LatentDraw
from levelseq.models.networks import ConditionalVAE
from levelseq.models.path_sums import PathSums
from levelseq.models.products import narrow_products
from levelseq.models.sparse_encoder import FirstLayer
from levelseq.models.sparse_minibatches import SparseMinibatch
from levelseq.models.tree_paths import paths

__all__ = ["SparseStep"]

F32 = NDArray[np.float32]


class SparseStep:
    """Losses of a network and their slopes, on CPU.

    Args:
        network: whose parameters stay where they are in memory.
    """

    def __init__(self, network: ConditionalVAE) -> None:
        self._network = network
        dropout = network.dropout.p
        self._first = FirstLayer(network.encoder_in)
        self._encoder_in = HiddenLayer(None, network.encoder_norm_in, dropout)
        self._encoder = HiddenLayer(network.encoder_hidden, network.encoder_norm, dropout)
        self._latent = LatentDraw(network.latent_mean, network.latent_log_variance)
        self._decoder_in = HiddenLayer(network.decoder_in, network.decoder_norm_in, 0.0)
        self._decoder = HiddenLayer(network.decoder_hidden, network.decoder_norm, 0.0)
        self._reconstruction = Reconstruction(network.decoder_out, network.log_theta_G)
        effects = (
            *(network.encoder_nodes, network.decoder_nodes_in, network.decoder_nodes),
            network.gene_nodes,
        )
        self._effects = [PathSums(each.levels, each.width) for each in effects]
        self._paths: tuple[Tensor | None, F32] = None, np.empty(0, np.float32)

    @torch.no_grad()
    def add_slopes(
        self, batch: SparseMinibatch, noise_BZ: Tensor, seed: int, kl_weight: float, share: float
    ) -> float:
        """The loss; its slopes, times `share`, are added to the parameters' own.

        Args:
            batch: the cells.
            noise_BZ: standard normal, of the latent states.
            seed: of dropout.
            kl_weight: of the divergence in the loss.
            share: of the cells that several processes have together.
        """
        place_B = batch.place_B
        to_encoder, to_decoder_in, to_decoder, to_genes = (
            effects.forward(self._through(batch)) for effects in self._effects
        )
        h = torch.from_numpy(self._first.forward(batch, np.exp(-to_genes)))
        h = self._encoder_in.forward(h, to_encoder, batch.style_B, 2 * seed)
        h = self._encoder.forward(h, np.zeros_like(to_encoder), place_B, 2 * seed + 1)
        z, divergence = self._latent.forward(h, noise_BZ)
        by_labels, loss_of_labels = self._labels(z, batch, share)
        h = self._decoder_in.forward(z, to_decoder_in, place_B, 0)
        h = self._decoder.forward(h, to_decoder, place_B, 0)
        loss = self._reconstruction.forward(
            batch, h, to_genes, share=share, narrow=narrow_products()
        )
        slope, by_genes = self._reconstruction.backward()
        slope, by_decoder = self._decoder.backward(slope)
        slope, by_decoder_in = self._decoder_in.backward(slope)
        slope = self._latent.backward(slope + by_labels, kl_weight * share)
        slope, _ = self._encoder.backward(slope)
        slope, by_encoder = self._encoder_in.backward(slope)
        self._first.backward(slope.numpy())
        slopes = (by_encoder, by_decoder_in, by_decoder, by_genes)
        for effects, slope_PW in zip(self._effects, slopes):
            effects.backward(slope_PW)
        self._reconstruction.end()
        return loss + loss_of_labels + kl_weight * divergence

    def _labels(
        self, z_BZ: Tensor, batch: SparseMinibatch, share: float
    ) -> tuple[Tensor | float, float]:
        """Slopes by the latent states, and the mean loss, of the labels that are known."""
        head = self._network.label_head
        if head is None or batch.label_B is None:
            return 0.0, 0.0
        return head.slopes(z_BZ, batch.label_B, share)

    @torch.no_grad()
    def loss(self, batch: SparseMinibatch) -> float:
        """The loss of a network that is not training, at the means of the latent states."""
        network, path_PN = self._network, self._through(batch)
        to_genes = self._effects[-1].forward(path_PN)
        h = torch.from_numpy(self._first.forward(batch, np.exp(-to_genes)))
        h = network.encode_hidden(h, torch.from_numpy(path_PN), batch.style_B)
        z, divergence = self._latent.forward(h, torch.zeros(len(h), network.n_latent))
        h = network.decode_hidden(z, torch.from_numpy(path_PN), batch.place_B)
        loss = self._reconstruction.forward(batch, h, to_genes) + divergence
        if network.label_head is not None and batch.label_B is not None:
            loss += network.label_head.losses(z, batch.label_B).mean().item()
        return loss

    def _through(self, batch: SparseMinibatch) -> F32:
        if self._paths[0] is not batch.node_PL:
            # Most minibatches of a cohort have all its paths, in one and the same tensor.
            self._paths = batch.node_PL, paths(batch.node_PL, self._network.n_nodes).numpy()
        return self._paths[1]
