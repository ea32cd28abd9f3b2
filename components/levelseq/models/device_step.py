"""A training step on counts that are on the accelerator: one CUDA graph from drawing to slopes.

The processor tells which cells are next, and waits for the loss; some hundred kernels are started
by one call. Where nothing can be recorded, on a CPU, the same work runs as it is.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from levelseq.models.count_loss import count_loss
from levelseq.models.device_counts import DeviceCounts, DeviceMinibatch, Drawn
from levelseq.models.latent_draw import LOG_VARIANCE
from levelseq.models.networks import ConditionalVAE
from levelseq.models.products import rounded_on_device
from levelseq.models.recorded import Recorder
from levelseq.models.tree_paths import paths

__all__ = ["DeviceStep"]


class DeviceStep:
    """Losses of a network and their slopes, on the device where the network is.

    Args:
        network: whose parameters, and their slopes, stay where they are in memory.
    """

    def __init__(self, network: ConditionalVAE) -> None:
        self._network = network
        self._device = network.log_theta_G.device
        self._recorder = Recorder(self._device)
        self._paths: tuple[DeviceCounts, Tensor] | None = None

    def add_slopes(
        self, batch: DeviceMinibatch, seed: int, kl_weight: float, share: float
    ) -> float:
        """The loss; its slopes, times `share`, are added to the parameters' own.

        Args:
            batch: the cells.
            seed: of thinning, dropout and the draws of latent states.
            kl_weight: of the divergence in the loss.
            share: of the cells that several processes have together.
        """
        inputs = torch.from_numpy(batch.cells_B), torch.tensor([kl_weight, share])
        path_PN, room = self._through(batch.counts), batch.counts.room(batch.cells_B)
        work = partial(self._add_slopes, batch.counts, path_PN, room, batch.thinned)
        key = batch.counts, len(batch.cells_B), room, batch.thinned
        self._seed(seed)
        with rounded_on_device():
            return float(self._recorder.answer(key, work, *inputs))

    @torch.no_grad()
    def loss(self, batch: DeviceMinibatch) -> float:
        """The loss of a network that is not training, at the means of the latent states."""
        cells_B = torch.from_numpy(np.asarray(batch.cells_B)).to(self._device)
        room = batch.counts.room(batch.cells_B)
        drawn = batch.counts.draw(cells_B, room, thinned=batch.thinned)
        mean_BZ, _, divergence = self._latent(drawn, self._through(batch.counts))
        logits_BG = self._logits(mean_BZ, drawn, self._through(batch.counts))
        found = count_loss(logits_BG, self._network.log_theta_G, drawn)
        return float(found.loss + self._labels(mean_BZ, drawn) + divergence)

    def _add_slopes(
        self,
        counts: DeviceCounts,
        path_PN: Tensor,
        room: int,
        thinned: bool,
        cells_B: Tensor,
        weights: Tensor,
    ) -> Tensor:
        kl_weight, share = weights
        drawn = counts.draw(cells_B, room, thinned=thinned)
        log_theta_G = self._network.log_theta_G
        mean_BZ, log_BZ, divergence = self._latent(drawn, path_PN)
        z_BZ = mean_BZ + torch.randn_like(mean_BZ) * (log_BZ / 2).exp()
        logits_BG = self._logits(z_BZ, drawn, path_PN)
        found = count_loss(logits_BG, log_theta_G, drawn, share)
        others = kl_weight * divergence + self._labels(z_BZ, drawn)
        torch.autograd.backward(
            (logits_BG, log_theta_G, others), (found.by_logits_BG, found.by_log_theta_G, share)
        )
        whole: Tensor = found.loss + others.detach()
        return whole

    def _latent(self, drawn: Drawn, path_PN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log-variance (B, Z) of the latent states, and their mean divergence."""
        network, path_BN = self._network, path_PN[drawn.path_B]
        effect_N = network.gene_nodes(path_PN).detach()[drawn.path_B[drawn.cell_N], drawn.gene_N]
        value_N = torch.log1p(drawn.shown_N * torch.exp(-effect_N))
        value_BG = torch.zeros(len(path_BN), network.n_genes, device=self._device)
        value_BG.view(-1).index_add_(0, drawn.place_N, value_N)
        h = network.encode_hidden(network.encoder_in(value_BG), path_BN)
        mean_BZ = network.latent_mean(h)
        log_BZ = network.latent_log_variance(h).clamp(*LOG_VARIANCE)
        divergence_BZ = 0.5 * (mean_BZ.square() + log_BZ.exp() - 1 - log_BZ)
        return mean_BZ, log_BZ, divergence_BZ.sum(dim=1).mean()

    def _logits(self, z_BZ: Tensor, drawn: Drawn, path_PN: Tensor) -> Tensor:
        """(B, G): with the effects of the cells' nodes, which are so many inputs more."""
        network, path_BN = self._network, path_PN[drawn.path_B]
        out, effects = network.decoder_out, network.gene_nodes.levels
        inputs_BI = torch.cat([network.decode_hidden(z_BZ, path_BN), path_BN], dim=1)
        weight_IG = torch.cat([out.weight.t(), *effects])
        # Products are quickest with rows of whole 16 bytes.
        spare = -weight_IG.shape[0] % 4
        inputs_BI = functional.pad(inputs_BI, (0, spare))
        return torch.addmm(out.bias, inputs_BI, functional.pad(weight_IG, (0, 0, 0, spare)))

    def _labels(self, z_BZ: Tensor, drawn: Drawn) -> Tensor | float:
        """The mean loss of the labels that are known."""
        head = self._network.label_head
        if head is None or drawn.label_B is None:
            return 0.0
        return head.losses(z_BZ, drawn.label_B).mean()

    def _through(self, counts: DeviceCounts) -> Tensor:
        """(P, N): the nodes on each of the observations' paths, made once: it asks the device."""
        if self._paths is None or self._paths[0] is not counts:
            path_PN = paths(counts.node_PL, self._network.n_nodes).to(self._device)
            self._paths = counts, path_PN
        return self._paths[1]

    def _seed(self, seed: int) -> None:
        if self._device.type == "cuda":
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
