"""The encoder's first layer on sparse counts: log(1 + count) is computed where a count is.

Shapes: B cells, N their counts that are not zero, G genes, P paths through the batch tree, H hidden
units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from levelseq.models.float32_kernels import float_kernel, log32
from levelseq.models.slopes import slope_of
from levelseq.models.sparse_minibatches import SparseMinibatch
from levelseq.models.threads import halves, in_parts

__all__ = ["FirstLayer", "row_major"]

F32 = NDArray[np.float32]
_ONE = np.float32(1.0)


def row_major(weight_HG: Tensor) -> Tensor:
    """The same weights, laid out so that a gene's lie side by side."""
    return weight_HG.detach().t().contiguous().t()


class FirstLayer:
    """A linear map of log(1 + shown * factor).

    Args:
        linear: its weights (H, G), laid out by `row_major`. Its bias gets no gradient, since a
            normalization takes it away.
    """

    def __init__(self, linear: nn.Linear) -> None:
        self._weight_GH = linear.weight.detach().t().numpy()
        self._bias_H = linear.bias.detach().numpy()
        self._linear = linear

    def forward(self, batch: SparseMinibatch, factor_PG: F32) -> F32:
        """(B, H): the layer's answer.

        Args:
            batch: the cells.
            factor_PG: what the counts of a gene are multiplied by on each path; gets no gradient.
        """
        value_N = np.empty_like(batch.shown_N)
        hidden_BH = np.empty((len(batch.place_B), len(self._bias_H)), np.float32)

        def gather(cells: slice) -> None:
            starts, place = batch.starts_B[cells.start : cells.stop + 1], batch.place_B[cells]
            _logs(starts, batch.gene_N, batch.shown_N, place, factor_PG, value_N)
            _gather(starts, batch.gene_N, value_N, self._weight_GH, self._bias_H, hidden_BH[cells])

        in_parts(gather, halves(len(hidden_BH)))
        self._kept = batch, value_N
        return hidden_BH

    def backward(self, slope_BH: F32) -> None:
        """Add the slopes of the weights to those that they have."""
        batch, value_N = self._kept
        slope_GH = slope_of(self._linear.weight).t().numpy()

        def scatter(genes: slice) -> None:
            ends = genes.start, genes.stop
            _scatter(batch.starts_B, batch.gene_N, value_N, slope_BH, ends, slope_GH)

        in_parts(scatter, halves(len(slope_GH)))


@float_kernel
def _logs(
    starts_B: Any, gene_N: Any, shown_N: F32, place_B: Any, factor_PG: F32, value_N: F32
) -> None:
    for b in range(len(place_B)):
        factor_G = factor_PG[place_B[b]]
        for i in range(starts_B[b], starts_B[b + 1]):
            value_N[i] = log32(_ONE + shown_N[i] * factor_G[np.uint32(gene_N[i])])


@float_kernel
def _gather(
    starts_B: Any, gene_N: Any, value_N: F32, weight_GH: F32, bias_H: F32, hidden_BH: F32
) -> None:
    for b in range(len(hidden_BH)):
        hidden_H = hidden_BH[b]
        hidden_H[:] = bias_H
        first, last = starts_B[b], starts_B[b + 1]
        fours = first + (last - first) // 4 * 4
        for i in range(first, fours, 4):
            # Four genes at once: the hidden units are read and written a quarter as often.
            v0, v1, v2, v3 = value_N[i], value_N[i + 1], value_N[i + 2], value_N[i + 3]
            w0, w1 = weight_GH[gene_N[i]], weight_GH[gene_N[i + 1]]
            w2, w3 = weight_GH[gene_N[i + 2]], weight_GH[gene_N[i + 3]]
            for h in range(len(hidden_H)):
                hidden_H[h] += (v0 * w0[h] + v1 * w1[h]) + (v2 * w2[h] + v3 * w3[h])
        for i in range(fours, last):
            v0, w0 = value_N[i], weight_GH[gene_N[i]]
            for h in range(len(hidden_H)):
                hidden_H[h] += v0 * w0[h]


@float_kernel
def _scatter(
    starts_B: Any, gene_N: Any, value_N: F32, slope_BH: F32, genes: tuple[int, int], slope_GH: F32
) -> None:
    """Add the slopes of the weights of genes from the first to before the last.

    Genes of a cell are in runs that are within or without, in two where they are sorted.
    """
    first, last = genes
    for b in range(len(slope_BH)):
        slope_H, i, end = slope_BH[b], starts_B[b], starts_B[b + 1]
        while i < end:
            while i < end and (gene_N[i] < first or gene_N[i] >= last):
                i += 1
            start = i
            while i < end and gene_N[i] >= first and gene_N[i] < last:
                i += 1
            for j in range(start, i):
                value, sum_H = value_N[j], slope_GH[gene_N[j]]
                for h in range(len(slope_H)):
                    sum_H[h] += value * slope_H[h]
