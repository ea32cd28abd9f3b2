"""The decoder's last layer, the softmax and the negative binomial loss as one function.

Shapes: B cells, G genes, H hidden units, P distinct paths through the batch tree. What autograd
would keep for a dozen operations on (B, G) stays in the processor's cache, a block of cells at a
time; the derivatives are found on the way, since the loss is one number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from levelseq.models.decoder_kernels import CellSums, add_narrow, loss_and_gradient
from levelseq.models.gamma_tables import gamma_tables
from levelseq.models.products import narrow_products, rounded_products
from levelseq.models.sparse_minibatches import SparseMinibatch
from levelseq.models.threads import halves, in_parts
from levelseq.normalize.compiled import blocks

__all__ = ["reconstruction_loss"]

CELLS_AT_ONCE = 256


def reconstruction_loss(
    batch: SparseMinibatch,
    hidden_BH: Tensor,
    weight_GH: Tensor,
    table_PG: Tensor,
    log_theta_G: Tensor,
    *,
    narrow: bool | None = None,
) -> Tensor:
    """Mean negative log-likelihood of the cells' counts, in nats, as `losses` has it for each.

    Logits are hidden_BH @ weight_GH.T + table_PG[place_B]; counts are negative binomial around
    library * softmax(logits) with inverse dispersion exp(log_theta_G). No second derivatives.

    Args:
        batch: the cells' counts and paths.
        hidden_BH: the last hidden layer.
        weight_GH: weights of the output layer. Where they have a gradient, theirs is added to it
            in place.
        table_PG: bias and effects of each path.
        log_theta_G: log of the inverse dispersion.
        narrow: multiply matrices rounded to bfloat16, summed in float32; None: when gradients are
            asked for and the processor gains by it.
    """
    loss: Tensor = _Reconstruction.apply(  # type: ignore[no-untyped-call]
        hidden_BH, weight_GH, table_PG, log_theta_G, batch, narrow, weight_GH.grad
    )
    return loss


class _Found(NamedTuple):
    """A batch's loss, and its derivatives by logits, by each path's table and by log(theta)."""

    loss: float
    slope_BG: Tensor
    table_PG: Tensor
    log_theta_G: Tensor


class _Reconstruction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_BH: Tensor,
        weight_GH: Tensor,
        table_PG: Tensor,
        log_theta_G: Tensor,
        batch: SparseMinibatch,
        narrow: bool | None,
        sum_GH: Tensor | None,
    ) -> Tensor:
        asked = any(ctx.needs_input_grad)
        narrow = asked and narrow_products() if narrow is None else narrow
        found = _through(batch, hidden_BH, weight_GH, table_PG, log_theta_G, narrow)
        if asked:
            kind = found.slope_BG.dtype
            ctx.kept = found, hidden_BH.to(kind), weight_GH.to(kind), sum_GH
        return torch.tensor(found.loss)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        found, hidden_BH, weight_GH, sum_GH = ctx.kept
        factor = float(slope)
        given = sum_GH is not None and sum_GH.is_contiguous()
        answer_GH = sum_GH if given else torch.zeros(weight_GH.shape)
        slope_BH = torch.empty(hidden_BH.shape)

        def by_hidden() -> None:
            slope_BH.copy_(found.slope_BG @ weight_GH)

        def by_weight(genes: slice) -> None:
            weight = found.slope_BG[:, genes].t() @ hidden_BH
            if weight.dtype is torch.bfloat16:
                bits = weight.view(torch.uint16).numpy()
                add_narrow(bits, np.float32(factor), answer_GH[genes].numpy())
            else:
                answer_GH[genes].add_(weight, alpha=factor)

        works: list[Callable[[], None]] = [by_hidden]
        works += [partial(by_weight, part) for part in halves(len(weight_GH))]
        in_parts(lambda work: work(), works)
        slopes = (slope_BH, found.table_PG, found.log_theta_G)
        hidden, table, log_theta = (part if factor == 1 else part * factor for part in slopes)
        return hidden, None if given else answer_GH, table, log_theta, None, None, None


def _through(
    batch: SparseMinibatch,
    hidden_BH: Tensor,
    weight_GH: Tensor,
    table_PG: Tensor,
    log_theta_G: Tensor,
    narrow: bool,
) -> _Found:
    n_cells, n_genes = len(hidden_BH), len(weight_GH)
    tables = gamma_tables(log_theta_G.numpy())
    slope_BG = torch.empty(n_cells, n_genes, dtype=torch.bfloat16 if narrow else torch.float32)
    # The kernel is compiled for both; the one that it does not write to holds no cell.
    wide, short = np.empty((0, n_genes), np.float32), np.empty((0, n_genes), np.uint16)
    table = table_PG.contiguous().numpy()

    def through(cells: slice) -> tuple[float, CellSums]:
        log_G, slope_G, gamma_G = np.zeros((3, n_genes), np.float32)
        sums = CellSums(log_G, slope_G, gamma_G, np.zeros(table.shape, np.float32))
        loss = loss_and_gradient(
            torch.mm(hidden_BH[cells], weight_GH.t()).numpy(),
            batch.place_B[cells],
            table,
            batch.library_B[cells],
            (batch.starts_B[cells.start : cells.stop + 1], batch.gene_N, batch.count_N),
            tables,
            np.float32(1 / n_cells),
            narrow,
            wide if narrow else slope_BG[cells].numpy(),
            slope_BG[cells].view(torch.uint16).numpy() if narrow else short,
            sums,
        )
        return loss, sums

    with rounded_products(narrow):
        found = in_parts(through, _cells(n_cells))
    loss = sum(part for part, _ in found)
    log_G, slope_G, gamma_G, table_sum_PG = (
        sum(part) for part in zip(*(sums for _, sums in found))
    )
    logs_G = tables.theta_G * log_G
    log_theta = torch.from_numpy((logs_G - slope_G - gamma_G) / n_cells)
    loss = (loss + float(logs_G.sum(dtype=np.float64))) / n_cells
    return _Found(loss, slope_BG, torch.from_numpy(table_sum_PG), log_theta)


def _cells(n: int) -> list[slice]:
    """An even number of parts of n cells, each small enough for a processor's cache."""
    return blocks(n, -(-n // (2 * -(-n // (2 * CELLS_AT_ONCE)))))
