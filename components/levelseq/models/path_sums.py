"""Sums of node effects along paths through the batch tree, by looking them up.

Shapes: P paths, N nodes of all levels, W numbers of a node.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from levelseq.models.float32_kernels import float_kernel
from levelseq.models.slopes import slope_of

__all__ = ["PathSums"]

F32 = NDArray[np.float32]


class PathSums:
    """(P, W) sums of the effects of some levels' nodes.

    Args:
        levels: the numbers of each level's nodes.
        width: W.
    """

    def __init__(self, levels: Iterable[nn.Parameter], width: int) -> None:
        self._levels = [(level.detach().numpy(), slope_of(level).numpy()) for level in levels]
        self._width = width

    def forward(self, path_PN: F32) -> F32:
        """(P, W): path_PN @ cat(levels), for a matrix of zeros and ones."""
        self._path_PN = path_PN
        sum_PW, first = np.zeros((len(path_PN), self._width), np.float32), 0
        for value, _ in self._levels:
            _look_up(path_PN[:, first : first + len(value)], value, sum_PW)
            first += len(value)
        return sum_PW

    def backward(self, slope_PW: F32) -> None:
        """Add the slopes of the levels' numbers to those that they have."""
        first = 0
        for _, slope in self._levels:
            _look_up(self._path_PN[:, first : first + len(slope)].T, slope_PW, slope)
            first += len(slope)


@float_kernel
def _look_up(path_PN: Any, value_NW: F32, sum_PW: F32) -> None:
    for p in range(len(sum_PW)):
        sum_W = sum_PW[p]
        for n in range(len(value_NW)):
            if path_PN[p, n] != 0:
                value_W = value_NW[n]
                for w in range(len(sum_W)):
                    sum_W[w] += value_W[w]
