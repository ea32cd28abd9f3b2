"""A training step on counts that are on the accelerator: one CUDA graph from drawing to slopes.

The processor tells which cells are next, and waits for the loss; some hundred kernels are started
by one call. Where nothing can be recorded, on a CPU, the same work runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from levelseq.models.count_loss import count_loss
from levelseq.models.device_counts import DeviceCounts, DeviceMinibatch, Drawn
from levelseq.models.latent_draw import LOG_VARIANCE
from levelseq.models.networks import ConditionalVAE
from levelseq.models.products import rounded_on_device
from levelseq.models.tree_paths import paths
from levelseq.progress import notice

__all__ = ["DeviceStep", "Recorder"]

WARMING = 3
"""Calls that run as they are before one is recorded: libraries set themselves up in the first."""


class DeviceStep:
    """Losses of a network and their slopes, on the device where the network is.

    Args:
        network: whose parameters, and their slopes, stay where they are in memory.
    """

    def __init__(self, network: ConditionalVAE) -> None:
        self._network = network
        self._device = network.log_theta_G.device
        self._recorder = Recorder()
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
        work = partial(self._add_slopes, batch.counts, self._through(batch.counts), batch.thinned)
        key = batch.counts, len(batch.cells_B), batch.thinned
        self._seed(seed)
        with rounded_on_device():
            inputs_there = (each.to(self._device) for each in inputs)
            return float(self._recorder.answer(key, work, *inputs_there))

    @torch.no_grad()
    def loss(self, batch: DeviceMinibatch) -> float:
        """The loss of a network that is not training, at the means of the latent states."""
        cells_B = torch.from_numpy(np.asarray(batch.cells_B)).to(self._device)
        drawn = batch.counts.draw(cells_B, thinned=batch.thinned)
        mean_BZ, _, divergence = self._latent(drawn, self._through(batch.counts))
        logits_BG = self._logits(mean_BZ, drawn, self._through(batch.counts))
        found = count_loss(logits_BG, self._network.log_theta_G, drawn)
        return float(found.loss + self._labels(mean_BZ, drawn) + divergence)

    def _add_slopes(
        self,
        counts: DeviceCounts,
        path_PN: Tensor,
        thinned: bool,
        cells_B: Tensor,
        weights: Tensor,
    ) -> Tensor:
        kl_weight, share = weights
        drawn, log_theta_G = counts.draw(cells_B, thinned=thinned), self._network.log_theta_G
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


@dataclass
class _Recording:
    """Where the inputs of one piece of work are, and its graph, once it has one."""

    inputs: tuple[Tensor, ...]
    calls: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    answer: Tensor | None = None


class Recorder:
    """Records work on a CUDA device once, and starts it as a whole from then on.

    Recording wants inputs and results that stay where they are, and no wait for the device. Random
    numbers follow the seed that the device's generator has when work is started. Anywhere else work
    is done as it is.
    """

    def __init__(self) -> None:
        self._recordings: dict[Hashable, _Recording] = {}

    def answer(self, key: Hashable, work: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """What the work gives, in memory that the next call takes.

        Args:
            key: of the work; with another, or with inputs of other shapes, it is other work.
            work: to be done on the inputs. It is not kept.
            inputs: on the device.
        """
        if not inputs[0].is_cuda:
            return work(*inputs)
        own = self._recordings.setdefault(key, _Recording(tuple(map(torch.clone, inputs))))
        for kept, given in zip(own.inputs, inputs):
            kept.copy_(given)
        if own.calls == WARMING:
            self._record(own, work)
        own.calls += 1
        if own.graph is None or own.answer is None:
            return self._beside(own, work)
        own.graph.replay()
        return own.answer

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        """Where work is tried and recorded."""
        return torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @cached_property
    def _pool(self) -> Any:
        """Memory of all graphs: of two no result is wanted at once."""
        return torch.cuda.graph_pool_handle()

    def _beside(self, own: _Recording, work: Callable[..., Tensor]) -> Tensor:
        here = torch.cuda.current_stream()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            answer = work(*own.inputs)
        here.wait_stream(self._stream)
        return answer

    def _record(self, own: _Recording, work: Callable[..., Tensor]) -> None:
        graph = torch.cuda.CUDAGraph()
        # Threads of libraries, such as NCCL's, may speak to the device meanwhile.
        recording = torch.cuda.graph(graph, self._pool, self._stream, "thread_local")
        try:
            # A recording that fails leaves its stream for this thread's; the outer block does not.
            with torch.cuda.stream(self._stream), recording:
                answer = work(*own.inputs)
        except RuntimeError as error:
            why = str(error.__context__ or error).strip().splitlines()[0]
            notice("train", f"kernels are started one by one, not as a CUDA graph: {why}")
            return
        own.graph, own.answer = graph, answer
