"""The processes that train one network together: those that torchrun started, or this one alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from levelseq.errors import BadInput, BadOption, Retryable

__all__ = ["ALONE", "Processes", "joined"]

Value = TypeVar("Value")

FEWEST_CELLS = 8
"""Of a minibatch, in one process: batch normalization needs some."""
LONGEST_WAIT = timedelta(hours=1)
"""The others wait so long for the first, which writes the model when training is over."""


@dataclass(frozen=True)
class Processes:
    """One of `size` processes. Alone, nothing that it does with the others costs anything."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def part(self, observations: Any) -> Any:
        """What falls to this process of a minibatch, or of the held-out observations, in order."""
        if self.size == 1:
            return observations
        return np.array_split(observations, self.size)[self.rank]

    def seed(self, seed: int) -> int:
        """A seed of this process's own: with the same, cells of two ranks would share noise."""
        return seed + (self.rank << 32)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put in each tensor's place its sum over the processes, in one message.

        Raises:
            Retryable: another process is gone.
        """
        if self.size == 1:
            return
        together = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _others_there():
            distributed.all_reduce(together)
        sums = torch.split(together, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, sums):
            tensor.copy_(total.view_as(tensor))

    def agree(
        self, gradient: Tensor, network: nn.Module, loss: float, share: float, *, stop: bool
    ) -> tuple[float, bool]:
        """Make what a step has found the same in all processes, in one message.

        Each normalizes by the moments of its own cells, as torch's DistributedDataParallel does
        unless told otherwise; the running moments, which evaluation uses, are their mean.

        Args:
            gradient: of `loss * share`; becomes that of the whole minibatch.
            network: whose running moments become their mean.
            loss: a cell's mean over the process's part.
            share: of the minibatch that the part is.
            stop: whether this process was told to stop.

        Returns:
            The loss of the whole minibatch, and whether any process was told to stop.
        """
        if self.size == 1:
            return loss, stop
        moments = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        for moment in moments:
            moment.mul_(share)
        outcome = gradient.new_tensor([loss * share, float(stop)])
        self.add_up([gradient, *moments, outcome])
        # Over NCCL the message was only sent on its way until now.
        with _others_there():
            whole, stops = outcome.tolist()
        return whole, stops > 0

    def stop(self, step: int, *, kept: bool) -> NoReturn:
        """End together, or whoever ends before the first has saved may take it along.

        Args:
            step: at which.
            kept: whether there are checkpoints.
        """
        self.wait()
        onwards = "goes on from its last checkpoint" if kept else "begins anew"
        raise Retryable(
            f"training was told to stop at step {step}", do=f"started again, it {onwards}"
        )

    def check(self, cells: int) -> None:
        """Refuse minibatches of so few cells that some process would get too few."""
        if self.size > 1 and cells < FEWEST_CELLS * self.size:
            raise BadOption(
                f"{cells} cells in a minibatch are fewer than {FEWEST_CELLS} for each of "
                f"{self.size} processes",
                where="--batch-size",
                do="give larger minibatches or start fewer processes",
            )

    def of_first(self, value: Value) -> Value:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        holder = [value]
        with _others_there():
            distributed.broadcast_object_list(holder, src=0)
        return holder[0]

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            with _others_there():
                distributed.barrier()


ALONE = Processes()


@contextlib.contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that the environment tells of, as torchrun sets it, and leave together.

    They speak over NCCL where each has a GPU, else over gloo. After an error the group is left as
    it is: the others may wait in it, and it ends with the process.

    Raises:
        BadInput: the environment tells of several processes, but not where they meet.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise BadInput(
                f"WORLD_SIZE is {size}, but {name} is not set",
                where="the environment",
                do="start the processes with torchrun, or unset WORLD_SIZE",
            )
    distributed.init_process_group(_backend(), timeout=LONGEST_WAIT)
    processes = Processes(distributed.get_rank(), distributed.get_world_size())
    yield processes
    processes.wait()
    distributed.destroy_process_group()


def _backend() -> str:
    """How this machine's processes speak; each takes a GPU if there are any."""
    if not torch.cuda.is_available():
        return "gloo"
    n_devices = torch.cuda.device_count()
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % n_devices)
    # NCCL refuses two processes on one GPU.
    return "nccl" if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= n_devices else "gloo"


@contextlib.contextmanager
def _others_there() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise Retryable(
            "another of the training processes is gone",
            do="see what it says; started again, training goes on from the last checkpoint",
        ) from error
