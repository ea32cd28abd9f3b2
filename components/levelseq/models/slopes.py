"""Where the slopes of parameters go."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["slope_of"]


def slope_of(parameter: Tensor) -> Tensor:
    """The gradient that a step adds to in place: the parameter's own, zeros if it has none yet."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
