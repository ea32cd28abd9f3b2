"""The softmax, the negative binomial loss and its slopes at once, for an accelerator.

Most counts are zero: the part of a loss that all genes have is dense, and what a count adds is
computed where one is. Autograd would keep a dozen arrays of (cells, genes). The formulas are those
of `decoder_kernels`.

Shapes: B cells, G genes, N counts that are not zero.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from levelseq.models.device_counts import Drawn

__all__ = ["CountLoss", "count_loss"]

_FEWEST = 1e-30


class CountLoss(NamedTuple):
    """A loss in nats, and its slopes.

    Attributes:
        loss: the mean over cells.
        by_logits_BG, by_log_theta_G: the slopes, times what they were to be multiplied by.
    """

    loss: Tensor
    by_logits_BG: Tensor
    by_log_theta_G: Tensor


@torch.no_grad()
def count_loss(
    logits_BG: Tensor, log_theta_G: Tensor, drawn: Drawn, share: Tensor | float = 1.0
) -> CountLoss:
    """Mean negative log-likelihood of cells' counts, without the data's own constant.

    Counts are negative binomial around library * softmax(logits). No operation waits for the
    device, or has a shape that values decide.

    Args:
        logits_BG: of each gene's share.
        log_theta_G: log of the inverse dispersion.
        drawn: the cells.
        share: what slopes are multiplied by.
    """
    n_cells, place_N, gene_N, count_N = len(logits_BG), drawn.place_N, drawn.gene_N, drawn.count_N
    theta_G = log_theta_G.exp()
    share_BG = torch.softmax(logits_BG, dim=1)
    t_BG = (share_BG * drawn.library_B[:, None]).div_(theta_G)
    zeros_G = theta_G * torch.log1p(t_BG).sum(dim=0)
    t_N = t_BG.view(-1)[place_N]
    # Differences of gamma functions at large theta would be lost in float32.
    whole_G = theta_G.double()
    theta_N, lgamma_G, digamma_G = whole_G[gene_N], torch.lgamma(whole_G), torch.digamma(whole_G)
    gamma_N = torch.lgamma(theta_N + count_N) - lgamma_G[gene_N]
    by_theta_N = theta_N * (torch.digamma(theta_N + count_N) - digamma_G[gene_N])
    of_counts_N = gamma_N + count_N * (t_N.clamp(min=_FEWEST).log() - t_N.log1p())
    loss = (zeros_G.sum(dtype=torch.float64) - of_counts_N.sum()) / n_cells

    # By log(mu), then through the softmax.
    slope_BG = t_BG.div_(t_BG + 1).mul_(theta_G)
    slope_BG.view(-1).index_add_(0, place_N, -count_N / (t_N + 1))
    gamma_G = torch.zeros_like(theta_G).index_add_(0, gene_N, by_theta_N.to(theta_G.dtype))
    by_log_theta_G = (zeros_G - slope_BG.sum(dim=0) - gamma_G) * (share / n_cells)
    total_B = slope_BG.sum(dim=1, keepdim=True)
    slope_BG.sub_(share_BG.mul_(total_B)).mul_(share / n_cells)
    return CountLoss(loss.to(logits_BG.dtype), slope_BG, by_log_theta_G)
