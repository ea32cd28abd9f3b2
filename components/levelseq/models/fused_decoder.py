"""The decoder's last layer, the softmax and the negative binomial loss as one function.

Shapes: B cells, G genes, H hidden units, P distinct paths through the batch tree. What autograd
would keep for a dozen operations on (B, G) stays in the processor's cache, a block of cells at a
time; the derivatives are found on the way, since the loss is one number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from levelseq.models.decoder_kernels import CellSums, add_narrow, loss_and_gradient
from levelseq.models.gamma_tables import gamma_tables
from levelseq.models.products import narrow_products, rounded_products
from levelseq.models.sparse_minibatches import SparseMinibatch

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
        hidden = found.slope_BG @ weight_GH
        weight: Tensor | None = found.slope_BG.t() @ hidden_BH
        if sum_GH is not None and sum_GH.is_contiguous() and weight is not None:
            if weight.dtype is torch.bfloat16:
                add_narrow(weight.view(torch.uint16).numpy(), np.float32(factor), sum_GH.numpy())
            else:
                sum_GH.add_(weight, alpha=factor)
            weight = None
        slopes = (hidden, weight, found.table_PG, found.log_theta_G)
        scaled = (None if part is None else _times(factor, part) for part in slopes)
        return (*scaled, None, None, None)


def _times(factor: float, part: Tensor) -> Tensor:
    return part.float() if factor == 1 else part.float() * factor


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
    log_G, slope_G, gamma_G = np.zeros((3, n_genes), np.float32)
    sums = CellSums(log_G, slope_G, gamma_G, np.zeros(table_PG.shape, np.float32))
    slope_BG = torch.empty(n_cells, n_genes, dtype=torch.bfloat16 if narrow else torch.float32)
    # The kernel is compiled for both; the one that it does not write to holds no cell.
    wide, short = np.empty((0, n_genes), np.float32), np.empty((0, n_genes), np.uint16)
    table = table_PG.contiguous().numpy()
    loss = 0.0
    logits = torch.empty(min(CELLS_AT_ONCE, n_cells), n_genes)
    for first in range(0, n_cells, CELLS_AT_ONCE):
        part = slice(first, min(first + CELLS_AT_ONCE, n_cells))
        logits_BG = logits[: part.stop - first]
        with rounded_products(narrow):
            torch.mm(hidden_BH[part], weight_GH.t(), out=logits_BG)
        starts_B = batch.starts_B[first : part.stop + 1]
        loss += loss_and_gradient(
            logits_BG.numpy(),
            batch.place_B[part],
            table,
            batch.library_B[part],
            (starts_B, batch.gene_N, batch.count_N),
            tables,
            np.float32(1 / n_cells),
            narrow,
            wide if narrow else slope_BG[part].numpy(),
            slope_BG[part].view(torch.uint16).numpy() if narrow else short,
            sums,
        )
    logs_G = tables.theta_G * sums.log_G
    log_theta = torch.from_numpy((logs_G - sums.slope_G - sums.gamma_G) / n_cells)
    loss = (loss + float(logs_G.sum(dtype=np.float64))) / n_cells
    return _Found(loss, slope_BG, torch.from_numpy(sums.table_PG), log_theta)
