"""Adam over one vector that holds all weights: a step is one pass over memory.

After Kingma & Ba (2015), with bias correction, as torch.optim.Adam computes it. Weights, gradients
and both moments of the network are a few MB; a call for each of some thirty parameters takes longer
than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from levelseq.models.float32_kernels import float_kernel
from levelseq.models.threads import begun, halves

__all__ = ["FlatAdam"]

F32 = NDArray[np.float32]
BETAS = 0.9, 0.999
"""As of torch.optim.Adam."""
_ONE, _ZERO = np.float32(1.0), np.float32(0.0)


class FlatAdam:
    """Moves a module's parameters into one vector, beside one of gradients, and steps on them.

    `parameter.grad` is a part of the vector of gradients; a step sets it back to zero.

    Args:
        module: whose parameters are optimized. `release` gives each its own memory again.
        learning_rate, eps: as of torch.optim.Adam.
    """

    def __init__(self, module: nn.Module, learning_rate: float, eps: float = 1e-8) -> None:
        self.learning_rate, self._eps = learning_rate, eps
        self._parameters = list(module.parameters())
        sizes = [p.numel() for p in self._parameters]
        device = self._parameters[0].device
        self._value, self._slope, self._mean, self._square = (
            torch.zeros(sum(sizes), device=device) for _ in range(4)
        )
        self._sizes, self._precision = np.array(sizes), np.zeros(len(sizes), np.float32)
        self._precision_everywhere: Tensor | None = None
        self._steps = 0
        self._part: dict[str, slice] = {}
        first = 0
        for (name, parameter), size in zip(module.named_parameters(), sizes):
            part = slice(first, first + size)
            value = _as(self._value[part], parameter)
            value.copy_(parameter.detach())
            parameter.data, parameter.grad = value, _as(self._slope[part], parameter)
            self._part[name] = part
            first += size

    @property
    def gradient(self) -> Tensor:
        """All gradients, in place: what a step goes down."""
        return self._slope

    def set_precision(self, precision: Mapping[str, float]) -> None:
        """Give some parameters, by name, a normal prior around zero: it adds to the loss."""
        numbers = {name: number for number, name in enumerate(self._part)}
        for name, value in precision.items():
            self._precision[numbers[name]] = value
        self._precision_everywhere = None

    def step(self) -> None:
        """One step down the gradients, which are zero afterwards."""
        self._steps += 1
        b1, b2 = BETAS
        rate = self.learning_rate / (1 - b1**self._steps)
        root = (1 - b2**self._steps) ** 0.5
        if self._value.device.type == "cpu":
            numbers = np.array([rate, 1 / root, b1, b2, self._eps], dtype=np.float32)
            vectors = (self._value, self._slope, self._mean, self._square)
            value, slope, mean, square = (vector.numpy() for vector in vectors)
            ends = np.cumsum(self._sizes)

            def step(part: slice) -> None:
                within = part.start, part.stop
                _step(value, slope, mean, square, ends, self._precision, numbers, within)

            begun(step, halves(len(value))).results()
            return
        if self._precision_everywhere is None:
            precision = torch.from_numpy(np.repeat(self._precision, self._sizes))
            self._precision_everywhere = precision.to(self._value.device)
        self._slope.addcmul_(self._precision_everywhere, self._value)
        self._mean.lerp_(self._slope, 1 - b1)
        self._square.mul_(b2).addcmul_(self._slope, self._slope, value=1 - b2)
        down = self._square.sqrt().div_(root).add_(self._eps)
        self._value.addcdiv_(self._mean, down, value=-rate)
        self._slope.zero_()

    def state(self) -> dict[str, Tensor]:
        """What a step depends on, beside the weights."""
        steps = torch.tensor(self._steps)
        return {"mean": self._mean, "square": self._square, "steps": steps}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state."""
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._steps = int(state["steps"])

    def release(self) -> None:
        """Give each parameter memory of its own, and no gradient."""
        for parameter in self._parameters:
            parameter.grad = None
            parameter.data = parameter.data.clone()


def _as(part: Tensor, parameter: Tensor) -> Tensor:
    """A part of a vector in a parameter's shape, laid out in memory as the parameter is."""
    return part.as_strided(parameter.shape, parameter.stride(), part.storage_offset())


@float_kernel
def _step(
    value: F32,
    slope: F32,
    mean: F32,
    square: F32,
    ends: Any,
    precision: F32,
    numbers: F32,
    within: tuple[int, int],
) -> None:
    """A step of what lies within two places of the vectors; `ends`, `precision`: by parameter."""
    first, last = within
    for p in range(len(ends)):
        end = max(first, min(ends[p], last))
        part = slice(first, end)
        _step_of_one(value[part], slope[part], mean[part], square[part], precision[p], numbers)
        first = end


@float_kernel
def _step_of_one(
    value: F32, slope: F32, mean: F32, square: F32, precision: Any, numbers: F32
) -> None:
    rate, inverse_root, b1, b2, eps = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    for i in range(len(value)):
        g = slope[i] + precision * value[i]
        m = b1 * mean[i] + (_ONE - b1) * g
        v = b2 * square[i] + (_ONE - b2) * g * g
        value[i] -= rate * m / (np.sqrt(v) * inverse_root + eps)
        mean[i], square[i], slope[i] = m, v, _ZERO
