"""The slopes of a network's losses: by autograd, by hand for sparse minibatches, or on a device."""

from __future__ import annotations

import torch

from levelseq.models.device_counts import DeviceMinibatch
from levelseq.models.device_step import DeviceStep
from levelseq.models.networks import ConditionalVAE, Minibatch
from levelseq.models.products import rounded_on_device
from levelseq.models.sparse_minibatches import SparseMinibatch
from levelseq.models.sparse_step import SparseStep

__all__ = ["AnyMinibatch", "Descent"]

AnyMinibatch = Minibatch | SparseMinibatch | DeviceMinibatch


class Descent:
    """Losses of a network, and slopes that are added to its parameters' own.

    Args:
        network: whose parameters stay where they are in memory.
    """

    def __init__(self, network: ConditionalVAE) -> None:
        self.network = network
        self._by_hand: SparseStep | None = None
        self._on_device: DeviceStep | None = None

    def add_slopes(self, batch: AnyMinibatch, seed: int, kl_weight: float, share: float) -> float:
        """The mean loss of a minibatch's cells; its slopes, times `share`, are added.

        Args:
            batch: the cells.
            seed: of all noise.
            kl_weight: of the KL divergence.
            share: of the cells that several processes have together.
        """
        if isinstance(batch, DeviceMinibatch):
            return self._device().add_slopes(batch, seed, kl_weight, share)
        _seed(seed)
        if isinstance(batch, Minibatch):
            with rounded_on_device():
                reconstruction, divergence = self.network.mean_losses(batch, sampled=True)
                loss = reconstruction + kl_weight * divergence
                loss.backward(loss.new_tensor(share))  # type: ignore[no-untyped-call]
            return loss.item()
        noise_BZ = torch.randn(len(batch.place_B), self.network.n_latent)
        return self._sparse().add_slopes(batch, noise_BZ, seed, kl_weight, share)

    @torch.no_grad()
    def loss(self, batch: AnyMinibatch) -> float:
        """The mean loss of a network that is not training, at the means of the latent states."""
        if isinstance(batch, DeviceMinibatch):
            return self._device().loss(batch)
        if isinstance(batch, Minibatch):
            return sum(part.item() for part in self.network.mean_losses(batch, sampled=False))
        return self._sparse().loss(batch)

    def _sparse(self) -> SparseStep:
        self._by_hand = self._by_hand or SparseStep(self.network)
        return self._by_hand

    def _device(self) -> DeviceStep:
        self._on_device = self._on_device or DeviceStep(self.network)
        return self._on_device


def _seed(seed: int) -> None:
    """As torch.manual_seed, which takes most of a millisecond where there is no accelerator."""
    if torch.cuda.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
