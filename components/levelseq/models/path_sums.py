"""Sums of node effects along paths through the batch tree, by looking them up.

Shapes: P paths, N nodes of all levels, W numbers of a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from levelseq.models.float32_kernels import float_kernel

__all__ = ["path_sums"]

F32 = NDArray[np.float32]


def path_sums(path_PN: Tensor, levels: Sequence[Tensor]) -> Tensor:
    """(P, W): path_PN @ cat(levels), for a matrix of zeros and ones on CPU.

    Args:
        path_PN: 1 for each node on a path; gets no gradient.
        levels: the numbers of each level's nodes. Where they have a gradient, theirs is added to it
            in place.
    """
    sums: Tensor = _PathSums.apply(  # type: ignore[no-untyped-call]
        path_PN, [level.grad for level in levels], *levels
    )
    return sums


class _PathSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, path_PN: Tensor, grads: list[Tensor | None], *levels: Tensor) -> Tensor:
        sum_PW = torch.zeros(len(path_PN), levels[0].shape[1])
        path, first = path_PN.numpy(), 0
        for level in levels:
            _look_up(path[:, first : first + len(level)], level.numpy(), sum_PW.numpy())
            first += len(level)
        ctx.kept = path, grads, [level.shape for level in levels]
        return sum_PW

    @staticmethod
    def backward(ctx: Any, slope_PW: Tensor) -> Any:
        path, grads, shapes = ctx.kept
        slope, answers, first = slope_PW.contiguous().numpy(), [], 0
        for grad, shape in zip(grads, shapes):
            total = torch.zeros(shape) if grad is None else grad
            _look_up(path[:, first : first + len(total)].T, slope, total.numpy())
            answers.append(total if grad is None else None)
            first += len(total)
        return None, None, *answers


@float_kernel
def _look_up(path_PN: Any, value_NW: F32, sum_PW: F32) -> None:
    for p in range(len(sum_PW)):
        sum_W = sum_PW[p]
        for n in range(len(value_NW)):
            if path_PN[p, n] != 0:
                value_W = value_NW[n]
                for w in range(len(sum_W)):
                    sum_W[w] += value_W[w]
