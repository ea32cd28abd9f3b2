"""Style transfer: a cell's content without its batch, and the batch as a style laid over it.

A variational autoencoder and an adversary share one generator, as in UNIT (Liu et al. 2017). The
encoder gives a cell's content and is told no batch. The generator gives each gene's share of the
counts; a batch is a style: scales and shifts of the generator's normalized hidden units (after
AdaIN, Huang & Belongie 2017) and one log-fold change a gene, all summed along the batch tree, so
that a leaf that was never seen has its parent's style. Three terms train it:

identity   in its own style a content gives back the cell's own counts: the negative binomial
           likelihood, with the divergence of the content from its prior
transfer   a cell in another batch's style looks to a critic as that batch's cells do
cycle      a cell in another batch's style still has its own content (CycleGAN, Zhu et al. 2017)

What is judged and encoded again is what a user gets: the cell's own counts times the ratio of the
two styles' shares, so that its noise and its zeros stay. An adversary removes biology where the
batches hold different kinds of cells, since it asks all cells of one to look like all of the other.
So it is shown mutual neighbours only, a cell in the partner's style beside the partner itself, and
its wishes reach the generator alone: the content is not theirs to change.

Shapes: B cells of a minibatch, G genes, L levels of the batch tree, H hidden units, Z dimensions of
the content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from levelseq.models.conditional_vae import VaeModel
from levelseq.models.critic import Critic
from levelseq.models.latent_draw import LOG_VARIANCE
from levelseq.models.networks import ConditionalVAE, Minibatch
from levelseq.models.node_effects import NodeEffects
from levelseq.models.partners import mutual_partners
from levelseq.models.tree_paths import paths
from levelseq.models.vae_settings import DEFAULTS, VaeSettings

__all__ = ["StyleModel", "StyleTransfer"]

ADVERSARY = 1.0
"""Nats of a cell's likelihood that a critic's nat is worth."""
CYCLE = 0.1
PENALTY = 1.0
LARGEST_RATIO = 5.0
"""Of the log-shares of two styles: a gene that one style lacks would else overflow."""


class StyleTransfer(ConditionalVAE):
    """Content encoder, styled generator and critic.

    One step trains both sides: the critic's loss sees cells that are cut off from the generator,
    the generator's loss a critic whose weights are cut off, so that one backward pass, one
    optimizer and one checkpoint hold the whole game, in one process or in several.

    Args:
        n_genes, n_nodes, settings: as the conditional VAE's; counts are negative binomial.
    """

    def __init__(
        self, n_genes: int, n_nodes: Sequence[int], settings: VaeSettings = DEFAULTS
    ) -> None:
        super().__init__(n_genes, n_nodes, settings)
        n_hidden = settings.n_hidden
        del self.encoder_nodes
        self.scale_nodes_in = NodeEffects(n_nodes, n_hidden, prior_sd=0.5)
        self.scale_nodes = NodeEffects(n_nodes, n_hidden, prior_sd=0.5)
        self.critic = Critic(n_genes, n_nodes, n_hidden)

    def encode(
        self, scaled_BG: Tensor, node_BL: Tensor, style_BL: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of the content; the nodes are not looked at."""
        h = self.encoder_norm_in(self.encoder_in(torch.log1p(scaled_BG)))
        h = self.dropout(functional.relu(h))
        h = self.dropout(functional.relu(self.encoder_norm(self.encoder_hidden(h))))
        return self.latent_mean(h), self.latent_log_variance(h).clamp(*LOG_VARIANCE)

    def decoded(self, z_BZ: Tensor, path_BN: Tensor) -> tuple[Tensor, None]:
        """(B, G): log of each gene's share of the counts of a content in paths' styles."""
        h = self.decoder_norm_in(self.decoder_in(z_BZ))
        scale_BH = self.scale_nodes_in(path_BN).exp()
        h = functional.relu(h * scale_BH + self.decoder_nodes_in(path_BN))
        h = self.decoder_norm(self.decoder_hidden(h))
        h = functional.relu(h * self.scale_nodes(path_BN).exp() + self.decoder_nodes(path_BN))
        logits_BG = self.decoder_out(h) + self.gene_nodes(path_BN)
        return functional.log_softmax(logits_BG, dim=1), None

    @torch.no_grad()
    def centre(self, node_FL: Any) -> None:
        """Make the root's style the mean of the leaves', which keep theirs.

        An adversary only ever sees leaves: without this the root's lies
        where the generator was not trained. Of an ordered level, which has no mean, nothing moves.
        """
        if any(walk is not None for walk in self.n_nodes.walks):
            return
        path_FN = paths(torch.as_tensor(node_FL), self.n_nodes).to(self.log_theta_G.device)
        for scales, shifts, norm in (
            (self.scale_nodes_in, self.decoder_nodes_in, self.decoder_norm_in),
            (self.scale_nodes, self.decoder_nodes, self.decoder_norm),
        ):
            scale_FH = scales(path_FN)
            own_FH = norm.bias * scale_FH.exp() + shifts(path_FN)
            mean_H = scale_FH.mean(dim=0)
            scale_FH = scale_FH - mean_H
            norm.weight.mul_(mean_H.exp())
            norm.bias.copy_(own_FH.mean(dim=0) / scale_FH.exp().mean(dim=0))
            _spread(scales, scale_FH, node_FL)
            _spread(shifts, own_FH - norm.bias * scale_FH.exp(), node_FL)
        effect_FG = self.gene_nodes(path_FN)
        self.decoder_out.bias.add_(effect_FG.mean(dim=0))
        _spread(self.gene_nodes, effect_FG - effect_FG.mean(dim=0), node_FL)

    def mean_losses(self, batch: Minibatch, *, sampled: bool) -> tuple[Tensor, Tensor]:
        """Loss of identity, and in training of transfer and cycle; and the divergence."""
        loss, divergence = super().mean_losses(batch, sampled=sampled)
        if self.training:
            loss = loss + self.transfer_loss(batch.scaled_BG, batch.node_BL)
        return loss, divergence

    @property
    def fused(self) -> bool:
        """The losses take whole minibatches."""
        return False

    def transfer_loss(self, scaled_BG: Tensor, node_BL: Tensor) -> Tensor:
        """What transfer and cycle cost a cell, and what the critic's errors cost it."""
        content, log_variance = self.encode(scaled_BG, node_BL)
        fixed = content.detach()
        partner, matched = mutual_partners(fixed, node_BL[:, -1])
        other_BL, weight_B = node_BL[partner], matched.float()
        ratio = self.decode(fixed, other_BL) - self.decode(fixed, node_BL)
        moved = scaled_BG * ratio.clamp(-LARGEST_RATIO, LARGEST_RATIO).exp()
        again, _ = self.encode(moved, other_BL)
        away = (again - fixed).square() / log_variance.detach().exp()
        cycle = away.sum(dim=1).mean() / 2
        made, real = torch.log1p(moved), torch.log1p(scaled_BG[partner])
        wished = self.critic.generator_loss(made, other_BL, weight_B)
        told = self.critic.loss(real, made, other_BL, weight_B, PENALTY)
        return CYCLE * cycle + ADVERSARY * (wished + told)


def _spread(effects: NodeEffects, total_FW: Tensor, node_FL: Any) -> None:
    """Share out what leaves have in all: a node has what n of them have in common, by n / (n + 1).

    So it is where a level's nodes differ as much as those below them; what is left is the leaf's.
    """
    for table, node_F in zip(effects.levels, torch.as_tensor(node_FL).to(total_FW.device).T):
        sums_NW = torch.zeros_like(table).index_add_(0, node_F, total_FW)
        leaves_N = torch.bincount(node_F, minlength=len(table))
        beside = 0 if table is effects.levels[-1] else 1
        table.copy_(sums_NW / (leaves_N + beside).clamp(min=1)[:, None])
        total_FW = total_FW - table[node_F]


class StyleModel(VaeModel):
    """A model by style transfer: levelled is what is taken into the reference batch's style."""

    KIND: ClassVar[str] = "StyleTransfer"
    NETWORK: ClassVar[type[ConditionalVAE]] = StyleTransfer
