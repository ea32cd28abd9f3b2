"""Kernels of the negative binomial loss and its gradient, from logits to logits.

Shapes: B cells of a block, G genes, P distinct paths through the batch tree. Counts are
sparse: most are zero, and what a count adds to the terms of a zero is put on top.

With mu = library * share, t = mu / theta and r = t / (1 + t), a cell and gene lose
theta log(1 + t) - x log r - (lgamma(x + theta) - lgamma(theta)), and the derivative by log(mu) is
g = theta r - x (1 - r). Through the softmax it becomes g - share * sum(g).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.models.float32_kernels import (
    bfloat16_bits,
    exp32,
    float_kernel,
    larger,
    log32,
    of_bfloat16,
)
from levelseq.models.gamma_tables import SMALL, GammaTables, of_large_count

__all__ = ["SUMS", "add_narrow", "loss_and_gradient"]

F32 = NDArray[np.float32]

_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)
_FEWEST = np.float32(1e-30)
_FULL = np.float32(1e19)
"""A product from which the logarithm is taken: another factor as large still has a number."""
_FINITE = np.float32(3e38)


SUMS = 3
"""The rows of `loss_and_gradient`'s sums that are not a path's."""


@float_kernel
def _shares(logits_G: F32, table_G: F32) -> Any:
    """Replace logits by shares that are yet to be divided by the sum, which is returned."""
    top = logits_G[0] + table_G[0]
    for g in range(len(logits_G)):
        logits_G[g] += table_G[g]
        top = larger(logits_G[g], top)
    total = _ZERO
    for g in range(len(logits_G)):
        share = exp32(logits_G[g] - top)
        logits_G[g] = share
        total += share
    return total


@float_kernel
def _of_zeros(
    share_G: F32, scale: Any, theta_G: F32, inverse_G: F32, product_G: F32, slope_G: F32
) -> Any:
    """The derivative if all counts were zero, in `slope_G`; its sum and the largest 1 + t."""
    total, most = _ZERO, _ONE
    for g in range(len(share_G)):
        t = share_G[g] * scale * inverse_G[g]
        one_more = t + _ONE
        product_G[g] *= one_more
        most = larger(one_more, most)
        slope = theta_G[g] * t / one_more
        slope_G[g] = slope
        total += slope
    return total, most


@float_kernel
def _of_counts(
    gene_N: Any, x_N: F32, tables: GammaTables, slope_G: F32, gamma_G: F32, log_N: F32
) -> Any:
    """Put the counts' part on top; what it adds to the sum of the derivatives, and to the loss."""
    change, loss, large = _ZERO, _ZERO, 0.0
    for i in range(len(gene_N)):
        g, x = np.uint32(gene_N[i]), x_N[i]
        r = slope_G[g] * tables.inverse_G[g]
        less = x * (_ONE - r)
        slope_G[g] -= less
        change -= less
        log_N[i] = r
        k = int(x) - 1
        if k >= SMALL:
            more = of_large_count(x, tables.theta_G[g])
            large += more[0]
            gamma_G[g] += np.float32(more[1])
            k = SMALL - 1
        if k >= 0:
            gamma_G[g] += tables.slope_KG[k, g]
            loss -= tables.lgamma_KG[k, g]
    for i in range(len(gene_N)):
        loss -= x_N[i] * log32(larger(log_N[i], _FEWEST))
    return change, np.float64(loss) - large


@float_kernel
def _through_softmax(
    share_G: F32, slope_G: F32, weight: Any, scale: Any, sum_G: F32, table_G: F32
) -> None:
    """From the derivative by log(mu) to that by the logits, in place of the shares."""
    for g in range(len(share_G)):
        slope = slope_G[g]
        sum_G[g] += slope
        slope = scale * (slope - share_G[g] * weight)
        table_G[g] += slope
        share_G[g] = slope


@float_kernel
def _rounded(slope_G: F32, bits_G: Any) -> None:
    for g in range(len(slope_G)):
        bits_G[g] = bfloat16_bits(slope_G[g])


@float_kernel
def _take_logs(product_G: F32, log_G: F32) -> None:
    for g in range(len(product_G)):
        log_G[g] += log32(product_G[g])
        product_G[g] = _ONE


@float_kernel
def loss_and_gradient(
    logits_BG: F32,
    place_B: Any,
    table_PG: F32,
    library_B: F32,
    counts: Any,
    tables: GammaTables,
    scale: Any,
    slope16_BG: Any,
    sums: F32,
) -> float:
    """The loss of a block of cells without its dense part, and its derivatives.

    Args:
        logits_BG: without the paths' part; replaced by the derivative by them.
        place_B: the number of each cell's path.
        table_PG: logits of each path, the bias among them.
        library_B: counts of each cell.
        counts: the block's counts: where cells start (B + 1,), then genes and counts.
        tables: of theta.
        scale: of the derivative by the logits.
        slope16_BG: gets it too, as the bits of bfloat16, if it has cells.
        sums: (SUMS + P, G) over cells, increased by the block's: of log(1 + t), of the loss's
            derivative by log(mu), of theta (digamma(x + theta) - digamma(theta)), and of its
            derivative by the logits, apart for each path.

    Returns:
        The loss, in nats; theta times the sum of log(1 + t) is still to be added.
    """
    indptr, indices, data = counts
    log_G, slopes_G, gamma_G = sums[0], sums[1], sums[2]
    n_genes = logits_BG.shape[1]
    product_G, slope_G = np.ones(n_genes, np.float32), np.empty(n_genes, np.float32)
    log_N = np.empty(np.diff(indptr).max(), np.float32)
    loss, full = 0.0, _ONE
    for b in range(len(logits_BG)):
        share_G, place = logits_BG[b], place_B[b]
        total = _shares(share_G, table_PG[place])
        library = library_B[b]
        add, most = _of_zeros(
            share_G, library / total, tables.theta_G, tables.inverse_G, product_G, slope_G
        )
        full *= most
        cell = slice(indptr[b], indptr[b + 1])
        change, counted = _of_counts(indices[cell], data[cell], tables, slope_G, gamma_G, log_N)
        loss += counted
        if not (total > _ZERO and add < _FINITE):
            loss = np.nan
        weight = (add + change) / total
        _through_softmax(share_G, slope_G, weight, scale, slopes_G, sums[SUMS + place])
        if len(slope16_BG) > 0:
            _rounded(share_G, slope16_BG[b])
        if b % 8 == 7 or full > _FULL:
            _take_logs(product_G, log_G)
            full = _ONE
    _take_logs(product_G, log_G)
    return loss


@float_kernel
def add_narrow(bits_GH: Any, sum_GH: F32) -> None:
    """Add a matrix of bfloat16, given by its bits."""
    for g in range(len(sum_GH)):
        bits_H, sum_H = bits_GH[g], sum_GH[g]
        for h in range(len(sum_H)):
            sum_H[h] += of_bfloat16(bits_H[h])
