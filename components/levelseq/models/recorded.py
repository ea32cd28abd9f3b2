"""Work on a CUDA device that is recorded once, and then started by one call: a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from levelseq.progress import notice

__all__ = ["WARMING", "Recorder"]

WARMING = 3
"""Calls that run as they are before one is recorded: libraries set themselves up in the first."""


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

    def __init__(self, device: torch.device) -> None:
        self._device, self._able = device, device.type == "cuda"
        self._recordings: dict[Hashable, _Recording] = {}

    def answer(self, key: Hashable, work: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """What the work gives, in memory that the next call takes.

        Args:
            key: of the work; with another, or with inputs of other shapes, it is other work.
            work: to be done on the inputs. It is not kept.
            inputs: anywhere; the work is done on copies of them on the device.
        """
        if not self._able:
            return work(*(given.to(self._device) for given in inputs))
        own = self._recordings.get(key)
        if own is None:
            there = (torch.empty_like(given, device=self._device) for given in inputs)
            own = self._recordings[key] = _Recording(tuple(there))
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
            # The memory's keeper may take itself to be recording still: nothing else is recorded.
            self._able = False
            return
        own.graph, own.answer = graph, answer
