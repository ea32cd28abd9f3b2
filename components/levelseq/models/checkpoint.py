"""Checkpoints in the object store: `checkpoints/<model key>/<step>/`, the last two kept."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import torch
from safetensors.torch import load, save

from levelseq.models.flat_adam import FlatAdam
from levelseq.models.networks import ConditionalVAE
from levelseq.models.processes import Processes
from levelseq.models.training import Checkpoints, Progress
from levelseq.progress import stage
from levelseq.store import Store

__all__ = ["SharedCheckpoints", "StoreCheckpoints"]


class StoreCheckpoints:
    """Saves every `seconds`; `progress.json` is put last and makes a checkpoint whole.

    Args:
        store: rooted at `checkpoints/<model key>`.
        seconds: between two checkpoints; 0 saves after every step.
    """

    KEPT = 2

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._saved_at = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved_at >= self._seconds

    def save(self, network: ConditionalVAE, optimizer: FlatAdam, progress: Progress) -> None:
        """Write one checkpoint and remove those before the last two."""
        tensors = {f"network.{k}": v.contiguous() for k, v in network.state_dict().items()}
        tensors |= {f"best.{k}": v.contiguous() for k, v in progress.best_weights.items()}
        tensors |= {f"adam.{k}": v for k, v in optimizer.state().items()}
        name = f"{progress.step:08d}"
        self._store.put(f"{name}/state.safetensors", save(tensors))
        self._store.put(f"{name}/progress.json", json.dumps(progress.as_json()).encode())
        for old in self._whole()[: -self.KEPT]:
            self._store.delete_folder(old)
        self._saved_at = time.monotonic()

    def load(self, network: ConditionalVAE, optimizer: FlatAdam) -> Progress | None:
        """Go on from the newest whole checkpoint, if there is one."""
        whole = self._whole()
        if not whole:
            return None
        progress = Progress(**json.loads(self._store.get(f"{whole[-1]}/progress.json")))
        tensors = load(self._store.get(f"{whole[-1]}/state.safetensors"))
        network.load_state_dict(_below(tensors, "network."))
        progress.best_weights = _below(tensors, "best.")
        optimizer.load_state(_below(tensors, "adam."))
        stage("train", "goes on from a checkpoint", steps=progress.step)
        return progress

    def remove(self) -> None:
        """Remove every checkpoint; the model is written."""
        self._store.delete_folder("")

    def _whole(self) -> list[str]:
        names = self._store.list()
        return [name.split("/")[0] for name in names if name.endswith("/progress.json")]


class SharedCheckpoints:
    """Checkpoints of several processes: the first writes and reads, all go on from what it read.

    Args:
        own: where the first keeps them.
        processes: that train together. Another number of them may go on.
    """

    def __init__(self, own: Checkpoints, processes: Processes) -> None:
        self._own = own
        self._processes = processes

    def due(self) -> bool:
        """Whether it is time for this process to save."""
        return self._processes.first and self._own.due()

    def save(self, network: ConditionalVAE, optimizer: FlatAdam, progress: Progress) -> None:
        """Write one checkpoint in the first process."""
        if self._processes.first:
            self._own.save(network, optimizer, progress)

    def load(self, network: ConditionalVAE, optimizer: FlatAdam) -> Progress | None:
        """Put all processes where the first one is: at its checkpoint, or at its first weights."""
        progress = self._own.load(network, optimizer) if self._processes.first else None
        if self._processes.size == 1:
            return progress
        mine = (_on_cpu(network.state_dict()), _on_cpu(optimizer.state()), progress)
        weights, moments, progress = self._processes.of_first(mine)
        network.load_state_dict(weights)
        optimizer.load_state(moments)
        return progress


def _on_cpu(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v.detach().cpu() for k, v in tensors.items()}


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
