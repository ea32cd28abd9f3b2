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
        hidden_BH = np.repeat(self._bias_H[None], len(batch.place_B), axis=0)

        def gather(cells: slice) -> None:
            starts, place = batch.starts_B[cells.start : cells.stop + 1], batch.place_B[cells]
            _logs(starts, batch.gene_N, batch.shown_N, place, factor_PG, value_N)
            _add_rows(starts, batch.gene_N, value_N, self._weight_GH, hidden_BH[cells])

        in_parts(gather, halves(len(hidden_BH)))
        self._kept = batch.by_gene, value_N
        return hidden_BH

    def backward(self, slope_BH: F32) -> None:
        """Add the slopes of the weights to those that they have."""
        (starts_G, cell_N, place_N), value_N = self._kept
        slope_GH, value_N = slope_of(self._linear.weight).t().numpy(), value_N[place_N]

        def scatter(genes: slice) -> None:
            starts = starts_G[genes.start : genes.stop + 1]
            _add_rows(starts, cell_N, value_N, slope_BH, slope_GH[genes])

        in_parts(scatter, halves(len(starts_G) - 1))


@float_kernel
def _logs(
    starts_B: Any, gene_N: Any, shown_N: F32, place_B: Any, factor_PG: F32, value_N: F32
) -> None:
    for b in range(len(place_B)):
        factor_G = factor_PG[place_B[b]]
        # Apart from the looking up, logarithms are taken of a vector at once.
        for i in range(starts_B[b], starts_B[b + 1]):
            value_N[i] = shown_N[i] * factor_G[np.uint32(gene_N[i])]
        for i in range(starts_B[b], starts_B[b + 1]):
            value_N[i] = log32(_ONE + value_N[i])


@float_kernel
def _add_rows(starts_S: Any, row_N: Any, value_N: F32, rows: F32, sum_SH: F32) -> None:
    """Add to each sum its multiples of rows: their numbers and factors lie from start to start."""
    for s in range(len(sum_SH)):
        sum_H = sum_SH[s]
        first, last = starts_S[s], starts_S[s + 1]
        fours = first + (last - first) // 4 * 4
        for i in range(first, fours, 4):
            # Four rows at once: the sums are read and written a quarter as often.
            v0, v1, v2, v3 = value_N[i], value_N[i + 1], value_N[i + 2], value_N[i + 3]
            r0, r1, r2, r3 = (
                rows[row_N[i]],
                rows[row_N[i + 1]],
                rows[row_N[i + 2]],
                rows[row_N[i + 3]],
            )
            for h in range(len(sum_H)):
                sum_H[h] += (v0 * r0[h] + v1 * r1[h]) + (v2 * r2[h] + v3 * r3[h])
        for i in range(fours, last):
            v0, r0 = value_N[i], rows[row_N[i]]
            for h in range(len(sum_H)):
                sum_H[h] += v0 * r0[h]
