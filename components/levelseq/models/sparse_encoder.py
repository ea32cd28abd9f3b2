"""The encoder's first layer on sparse counts: log(1 + count) is computed where a count is.

Shapes: B cells, N their counts that are not zero, G genes, P paths through the batch tree, H hidden
units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from levelseq.models.float32_kernels import float_kernel, log32
from levelseq.models.sparse_minibatches import SparseMinibatch
from levelseq.models.threads import halves, in_parts

__all__ = ["first_layer", "row_major"]

F32 = NDArray[np.float32]
_ONE = np.float32(1.0)


def row_major(weight_HG: Tensor) -> Tensor:
    """The same weights, laid out so that a gene's lie side by side."""
    return weight_HG.detach().t().contiguous().t()


def first_layer(
    batch: SparseMinibatch, factor_PG: Tensor, weight_HG: Tensor, bias_H: Tensor
) -> Tensor:
    """(B, H): the product of log(1 + shown * factor) with the weights, and the bias.

    Args:
        batch: the cells.
        factor_PG: what the counts of a gene are multiplied by on each path; gets no gradient.
        weight_HG: the weights, quickest as `row_major` lays them out. Where they have a gradient,
            theirs is added to it in place.
        bias_H: the bias; gets no gradient, since a normalization takes it away.
    """
    hidden: Tensor = _FirstLayer.apply(  # type: ignore[no-untyped-call]
        weight_HG, bias_H, factor_PG, batch, weight_HG.grad
    )
    return hidden


class _FirstLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight_HG: Tensor,
        bias_H: Tensor,
        factor_PG: Tensor,
        batch: SparseMinibatch,
        sum_HG: Tensor | None,
    ) -> Tensor:
        value_N = np.empty_like(batch.shown_N)
        hidden_BH = torch.empty(len(batch.place_B), len(bias_H))
        weight_GH = weight_HG.detach().t().contiguous().numpy()
        factor = factor_PG.detach().contiguous().numpy()
        hidden, bias = hidden_BH.numpy(), bias_H.numpy()

        def gather(cells: slice) -> None:
            starts, place = batch.starts_B[cells.start : cells.stop + 1], batch.place_B[cells]
            _logs(starts, batch.gene_N, batch.shown_N, place, factor, value_N)
            _gather(starts, batch.gene_N, value_N, weight_GH, bias, hidden[cells])

        in_parts(gather, halves(len(hidden)))
        ctx.kept = batch, value_N, weight_HG.shape[1], sum_HG
        return hidden_BH

    @staticmethod
    def backward(ctx: Any, slope_BH: Tensor) -> Any:
        batch, value_N, n_genes, sum_HG = ctx.kept
        slope = slope_BH.contiguous()
        given = sum_HG is not None and sum_HG.t().is_contiguous()
        sum_GH = sum_HG.t() if given else torch.zeros(n_genes, slope.shape[1])
        given_BH, answer_GH = slope.numpy(), sum_GH.numpy()

        def scatter(genes: slice) -> None:
            ends = genes.start, genes.stop
            _scatter(batch.starts_B, batch.gene_N, value_N, given_BH, ends, answer_GH)

        in_parts(scatter, halves(n_genes))
        return None if given else sum_GH.t(), None, None, None, None


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
