"""Terms that other models have and this one lacks, as networks that `make bench-ablation` trains.

Each computes its losses by autograd on dense minibatches. Shapes: B cells, G genes, Z latent
dimensions, K components, L levels of the batch tree.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from levelseq.models.networks import ConditionalVAE, Minibatch
from levelseq.models.style_transfer import CYCLE, LARGEST_RATIO

COMPONENTS = 20
TEMPERATURE, CONTRAST = 0.1, 5.0


class _Dense(ConditionalVAE):
    """Shown whole minibatches."""

    @property
    def fused(self) -> bool:
        return False


class MixturePrior(_Dense):
    """Latent states from a mixture of normals that training learns, not from a standard normal.

    After Dilokthanakul et al. (2016); a VampPrior (Tomczak & Welling 2018) without pseudo-inputs.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.prior_mean_KZ = nn.Parameter(torch.randn(COMPONENTS, self.n_latent))
        self.prior_log_sd_KZ = nn.Parameter(torch.zeros(COMPONENTS, self.n_latent))
        self.prior_logit_K = nn.Parameter(torch.zeros(COMPONENTS))

    def losses(self, batch: Minibatch, *, sampled: bool) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encode(batch.scaled_BG, batch.node_BL, batch.style_BL)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp() if sampled else mean
        entropy_B = 0.5 * (1 + log_variance + math.log(2 * math.pi)).sum(dim=1)
        # Of a draw in evaluation too: at the mean, a divergence lacks what the variance costs.
        drawn = z if sampled else mean + torch.randn_like(mean) * (log_variance / 2).exp()
        away_BKZ = (drawn[:, None] - self.prior_mean_KZ) / self.prior_log_sd_KZ.exp()
        log_BKZ = -0.5 * (away_BKZ.square() + math.log(2 * math.pi)) - self.prior_log_sd_KZ
        log_K = functional.log_softmax(self.prior_logit_K, dim=0)
        divergence_B = -entropy_B - torch.logsumexp(log_BKZ.sum(dim=2) + log_K, dim=1)
        return -self.log_prob(batch, z).sum(dim=1), divergence_B


class Contrastive(_Dense):
    """Two thinned views of a cell lie nearer to each other than to other cells (InfoNCE)."""

    def mean_losses(self, batch: Minibatch, *, sampled: bool) -> tuple[Tensor, Tensor]:
        loss, divergence = super().mean_losses(batch, sampled=sampled)
        if not self.training:
            return loss, divergence
        size_B1 = batch.counts_BG.sum(dim=1, keepdim=True) / batch.scaled_BG.sum(
            dim=1, keepdim=True
        ).clamp(min=1e-6)
        size_B1 = size_B1.clamp(min=1e-6)
        kept_B1 = 0.5 + 0.5 * torch.rand_like(size_B1)
        thinned_BG = torch.binomial(batch.counts_BG, kept_B1.expand_as(batch.counts_BG))
        views = batch.scaled_BG, thinned_BG / (size_B1 * kept_B1)
        one, other = (
            functional.normalize(self.encode(view, batch.node_BL)[0], dim=1) for view in views
        )
        places = torch.arange(len(one), device=one.device)
        alike_BB = one @ other.t() / TEMPERATURE
        return loss + CONTRAST * functional.cross_entropy(alike_BB, places), divergence


class Cycle(_Dense):
    """A cell brought to another's batch, and placed again there, lies where it lay."""

    def mean_losses(self, batch: Minibatch, *, sampled: bool) -> tuple[Tensor, Tensor]:
        loss, divergence = super().mean_losses(batch, sampled=sampled)
        if not self.training:
            return loss, divergence
        mean, log_variance = self.encode(batch.scaled_BG, batch.node_BL)
        other_BL = batch.node_BL[torch.randperm(len(mean))]
        ratio = self.decode(mean, other_BL) - self.decode(mean, batch.node_BL)
        moved_BG = batch.scaled_BG * ratio.clamp(-LARGEST_RATIO, LARGEST_RATIO).exp()
        again, _ = self.encode(moved_BG, other_BL)
        away_BZ = (again - mean).square() / log_variance.detach().exp()
        return loss + CYCLE * away_BZ.sum(dim=1).mean() / 2, divergence
