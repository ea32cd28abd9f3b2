"""Where the slopes of parameters go."""

from __future__ import annotations

from torch import Tensor

__all__ = ["added"]


def added(total: Tensor | None, slope: Tensor) -> Tensor | None:
    """Add a slope to its parameter's in place, quicker than autograd does; None: it is done.

    A parameter that has no slope yet gets this one from autograd.
    """
    if total is None:
        return slope
    total.add_(slope)
    return None
