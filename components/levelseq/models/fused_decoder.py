"""The decoder's last layer, the softmax and the negative binomial loss as one function.

Shapes: B cells, G genes, H hidden units, P distinct paths through the batch tree. What autograd
would keep for a dozen operations on (B, G) stays in the processor's cache, a block of cells at a
time; the derivatives are found on the way, since the loss is one number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from levelseq.models.decoder_kernels import CellSums, add_narrow, loss_and_gradient
from levelseq.models.gamma_tables import GammaTables, gamma_tables
from levelseq.models.products import rounded_products
from levelseq.models.slopes import slope_of
from levelseq.models.sparse_minibatches import SparseMinibatch
from levelseq.models.threads import halves, in_parts
from levelseq.normalize.compiled import blocks

__all__ = ["Reconstruction"]

F32 = NDArray[np.float32]

CELLS_AT_ONCE = 256


class Reconstruction:
    """Mean negative log-likelihood of cells' counts, in nats, and its slopes.

    Logits are hidden_BH @ out.weight.T + out.bias + effect_PG[place_B]; counts are negative
    binomial around library * softmax(logits) with inverse dispersion exp(log_theta_G).

    Args:
        out: the output layer.
        log_theta_G: log of the inverse dispersion.
    """

    def __init__(self, out: nn.Linear, log_theta_G: nn.Parameter) -> None:
        self._out, self._log_theta = out, log_theta_G

    def forward(
        self,
        batch: SparseMinibatch,
        hidden_BH: Tensor,
        effect_PG: F32,
        *,
        share: float = 1.0,
        narrow: bool = False,
    ) -> float:
        """The loss.

        Args:
            batch: the cells' counts and paths.
            hidden_BH: the last hidden layer.
            effect_PG: effects of each path.
            share: what slopes are multiplied by.
            narrow: multiply matrices rounded to bfloat16, summed in float32.
        """
        table_PG = effect_PG + self._out.bias.detach().numpy()
        tables = gamma_tables(self._log_theta.detach().numpy())
        n_cells, weight_HG = len(hidden_BH), self._out.weight.detach().t()
        kind = torch.bfloat16 if narrow else torch.float32
        slope_BG = torch.empty(n_cells, table_PG.shape[1], dtype=kind)
        scale = np.float32(share / n_cells)

        def through(cells: slice) -> tuple[float, CellSums]:
            logits_BG = torch.mm(hidden_BH[cells], weight_HG) if few_BG is None else few_BG[cells]
            return _through(batch, cells, logits_BG, table_PG, tables, scale, slope_BG[cells])

        with rounded_products(narrow):
            # For few cells reading the weights takes longer than multiplying with them.
            few_BG = torch.mm(hidden_BH, weight_HG) if n_cells <= CELLS_AT_ONCE else None
            found = in_parts(through, _cells(n_cells))
        loss = sum(part for part, _ in found)
        sums = CellSums(*(np.sum(part, axis=0) for part in zip(*(sums for _, sums in found))))
        logs_G = tables.theta_G * sums.log_G
        log_theta_G = scale * (logs_G - sums.slope_G - sums.gamma_G)
        self._kept = hidden_BH, slope_BG, sums.table_PG, log_theta_G
        return float(loss + logs_G.sum(dtype=np.float64)) / n_cells

    def backward(self) -> tuple[Tensor, F32]:
        """Slopes by the hidden layer (B, H) and by the paths' effects (P, G); adds the others."""
        hidden_BH, slope_BG, table_slope_PG, log_theta_G = self._kept
        kind = slope_BG.dtype
        hidden, weight_GH = hidden_BH.to(kind), self._out.weight.detach().to(kind)
        sum_GH = slope_of(self._out.weight)
        slope_BH = torch.empty(hidden_BH.shape)

        def by_hidden() -> None:
            slope_BH.copy_(slope_BG @ weight_GH)

        def by_weight(genes: slice) -> None:
            weight = slope_BG[:, genes].t() @ hidden
            if kind is torch.bfloat16:
                add_narrow(weight.view(torch.uint16).numpy(), sum_GH[genes].numpy())
            else:
                sum_GH[genes].add_(weight)

        works: list[Callable[[], None]] = [by_hidden]
        works += [partial(by_weight, part) for part in halves(len(sum_GH))]
        in_parts(lambda work: work(), works)
        slope_of(self._out.bias).numpy()[:] += table_slope_PG.sum(axis=0)
        slope_of(self._log_theta).numpy()[:] += log_theta_G
        return slope_BH, table_slope_PG


def _through(
    batch: SparseMinibatch,
    cells: slice,
    logits_BG: Tensor,
    table_PG: F32,
    tables: GammaTables,
    scale: np.float32,
    slope_BG: Tensor,
) -> tuple[float, CellSums]:
    """The loss of some cells without its dense part, and their sums; fills in `slope_BG`."""
    n_genes = table_PG.shape[1]
    log_G, slope_G, gamma_G = np.zeros((3, n_genes), np.float32)
    sums = CellSums(log_G, slope_G, gamma_G, np.zeros(table_PG.shape, np.float32))
    # The kernel is compiled for both kinds; the one that it does not write to holds no cell.
    wide, short = np.empty((0, n_genes), np.float32), np.empty((0, n_genes), np.uint16)
    if slope_BG.dtype is torch.bfloat16:
        short = slope_BG.view(torch.uint16).numpy()
    else:
        wide = slope_BG.numpy()
    counts = batch.starts_B[cells.start : cells.stop + 1], batch.gene_N, batch.count_N
    loss = loss_and_gradient(
        logits_BG.numpy(),
        batch.place_B[cells],
        table_PG,
        batch.library_B[cells],
        counts,
        tables,
        scale,
        wide,
        short,
        sums,
    )
    return loss, sums


def _cells(n: int) -> list[slice]:
    """An even number of parts of n cells, each small enough for a processor's cache."""
    return blocks(n, -(-n // (2 * -(-n // (2 * CELLS_AT_ONCE)))))
