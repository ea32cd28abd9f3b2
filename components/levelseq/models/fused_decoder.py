"""The decoder's last layer, the softmax and the negative binomial loss as one function.

Shapes: B cells, G genes, H hidden units, P distinct paths through the batch tree. What autograd
would keep for a dozen operations on (B, G) stays in the processor's cache, a block of cells at a
time; the derivatives are found on the way, since the loss is one number.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from levelseq.models.decoder_kernels import SUMS, add_narrow, loss_and_gradient
from levelseq.models.gamma_tables import gamma_tables
from levelseq.models.products import rounded_products
from levelseq.models.slopes import slope_of
from levelseq.models.sparse_minibatches import SparseMinibatch
from levelseq.models.threads import begun, halves, in_parts
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
        logits_BG = torch.empty(n_cells, table_PG.shape[1])
        bits_BG = torch.empty(n_cells if narrow else 0, table_PG.shape[1], dtype=torch.bfloat16)
        scale = np.float32(share / n_cells)

        parts = _cells(n_cells)
        sums = np.zeros((len(parts), SUMS + len(table_PG), table_PG.shape[1]), np.float32)

        def through(part: int) -> float:
            cells = parts[part]
            torch.mm(hidden_BH[cells], weight_HG, out=logits_BG[cells])
            return loss_and_gradient(
                logits_BG[cells].numpy(),
                batch.place_B[cells],
                table_PG,
                batch.library_B[cells],
                (batch.starts_B[cells.start : cells.stop + 1], batch.gene_N, batch.count_N),
                tables,
                scale,
                bits_BG[cells].view(torch.uint16).numpy(),
                sums[part],
            )

        with rounded_products(narrow):
            loss = sum(in_parts(through, range(len(parts))))
        whole = sums.sum(axis=0) if len(parts) > 1 else sums[0]
        logs_G = tables.theta_G * whole[0]
        log_theta_G = scale * (logs_G - whole[1] - whole[2])
        slope_BG = bits_BG if narrow else logits_BG
        self._kept = hidden_BH, slope_BG, whole[SUMS:], log_theta_G
        return float(loss + logs_G.sum(dtype=np.float64)) / n_cells

    def backward(self) -> tuple[Tensor, F32]:
        """Slopes by the hidden layer (B, H) and by the paths' effects (P, G).

        Those by the weights are begun: nothing before the end of the step needs them.
        """
        hidden_BH, slope_BG, table_slope_PG, log_theta_G = self._kept
        kind = slope_BG.dtype
        hidden, weight_GH = hidden_BH.to(kind), self._out.weight.detach().to(kind)
        sum_GH = slope_of(self._out.weight)

        def by_weight(genes: slice) -> None:
            if kind is torch.float32:
                sum_GH[genes].addmm_(slope_BG[:, genes].t(), hidden)
                return
            weight = slope_BG[:, genes].t() @ hidden
            add_narrow(weight.view(torch.uint16).numpy(), sum_GH[genes].numpy())

        self._by_weight = begun(by_weight, halves(len(sum_GH)))
        slope_of(self._out.bias).numpy()[:] += table_slope_PG.sum(axis=0)
        slope_of(self._log_theta).numpy()[:] += log_theta_G
        return (slope_BG @ weight_GH).float(), table_slope_PG

    def end(self) -> None:
        """Have the slopes by the weights added."""
        self._by_weight.results()


def _cells(n: int) -> list[slice]:
    """Parts of n cells that a processor's cache holds: one, or an even number of them."""
    if n < CELLS_AT_ONCE:
        return [slice(0, n)]
    return blocks(n, -(-n // (2 * -(-n // (2 * CELLS_AT_ONCE)))))
