"""The conditional VAE's network.

Shapes: B cells of a minibatch, G genes, L levels of the batch tree, H hidden units, Z latent
dimensions. `node_BL` holds for each level the number of a cell's node, -1 where unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from levelseq.models.label_head import LabelHead
from levelseq.models.latent_draw import LOG_VARIANCE
from levelseq.models.likelihood import negative_binomial_log_prob, zero_inflated_log_prob
from levelseq.models.node_effects import NodeEffects
from levelseq.models.sparse_encoder import row_major
from levelseq.models.tree_paths import NodeCounts, paths
from levelseq.models.vae_settings import DEFAULTS, VaeSettings

__all__ = ["ConditionalVAE", "Minibatch"]

FEW_LOST = -3.0
"""The logit of a lost count before training: nearly a plain negative binomial."""


class Minibatch(NamedTuple):
    """What the network is shown of B cells.

    Attributes:
        counts_BG: counts.
        scaled_BG: counts over size factors; unmeasured genes hold the training cohort's mean.
        node_BL: each cell's nodes in the batch tree, -1 where unknown.
        measured_G: 1 for a gene that was measured, 0 otherwise; None when all were.
        style_BL: the nodes whose effects the encoder's hidden layer gets; None: the cell's own.
        label_B: numbers of labels, -1 where unknown; None: labels are not used.
    """

    counts_BG: Tensor
    scaled_BG: Tensor
    node_BL: Tensor
    measured_G: Tensor | None
    style_BL: Tensor | None = None
    label_B: Tensor | None = None


class ConditionalVAE(nn.Module):
    """Counts given a latent state and the path through the batch tree, as negative binomials.

    After scVI (Lopez et al. 2018), with the one-hot batch replaced by effects on the batch tree:
    on the hidden layers of encoder and decoder, and one log-fold change for each node and gene.

    Args:
        n_genes: G.
        n_nodes: for each level of the batch tree, how many nodes it has, and which follow which.
        settings: sizes and likelihood.
    """

    def __init__(
        self, n_genes: int, n_nodes: Sequence[int], settings: VaeSettings = DEFAULTS
    ) -> None:
        super().__init__()
        n_hidden, n_latent = settings.n_hidden, settings.n_latent
        self.n_genes, self.n_hidden, self.n_latent = n_genes, n_hidden, n_latent
        self.n_nodes, self.settings = NodeCounts.of(n_nodes), settings
        self.encoder_in = nn.Linear(n_genes, n_hidden)
        self.encoder_in.weight = nn.Parameter(row_major(self.encoder_in.weight))
        self.encoder_nodes = NodeEffects(n_nodes, n_hidden, prior_sd=1.0)
        self.encoder_norm_in = _norm(n_hidden)
        self.encoder_hidden = nn.Linear(n_hidden, n_hidden)
        self.encoder_norm = _norm(n_hidden)
        self.latent_mean = nn.Linear(n_hidden, n_latent)
        self.latent_log_variance = nn.Linear(n_hidden, n_latent)
        self.decoder_in = nn.Linear(n_latent, n_hidden)
        self.decoder_nodes_in = NodeEffects(n_nodes, n_hidden, prior_sd=1.0)
        self.decoder_norm_in = _norm(n_hidden)
        self.decoder_hidden = nn.Linear(n_hidden, n_hidden)
        self.decoder_nodes = NodeEffects(n_nodes, n_hidden, prior_sd=1.0)
        self.decoder_norm = _norm(n_hidden)
        self.decoder_out = nn.Linear(n_hidden, n_genes)
        self.gene_nodes = NodeEffects(n_nodes, n_genes, prior_sd=0.5)
        self.log_theta_G = nn.Parameter(torch.zeros(n_genes))
        self.dropout = nn.Dropout(settings.dropout)
        self.lost_out: nn.Linear | None = None
        if settings.likelihood == "zinb":
            self.lost_out = nn.Linear(n_hidden, n_genes)
            nn.init.constant_(self.lost_out.bias, FEW_LOST)
        self.theta_nodes: NodeEffects | None = None
        if settings.dispersion == "gene-batch":
            self.theta_nodes = NodeEffects(n_nodes, n_genes, prior_sd=0.5)
        self.label_head: LabelHead | None = None

    def encode(
        self, scaled_BG: Tensor, node_BL: Tensor, style_BL: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, Z) of the latent state.

        The encoder sees counts over size factors from which the decoder's own gene effects of the
        batch are taken, so that what is learned of a batch moves its cells in latent space too.
        """
        path_BN = paths(node_BL, self.n_nodes)
        level_BG = scaled_BG * torch.exp(-self.gene_nodes(path_BN).detach())
        style_BN = path_BN if style_BL is None else paths(style_BL, self.n_nodes)
        h = self.encode_hidden(self.encoder_in(torch.log1p(level_BG)), style_BN)
        return self.latent_mean(h), self.latent_log_variance(h).clamp(*LOG_VARIANCE)

    def encode_hidden(self, h: Tensor, path_PN: Tensor, place_B: Any = None) -> Tensor:
        """(B, H): the encoder's last hidden layer, from what its first linear map gives.

        Args:
            h: (B, H).
            path_PN: paths through the tree, as `paths` gives them.
            place_B: the number of each cell's path; None: there is one for each cell.
        """
        h = self._layer(h, self.encoder_nodes(path_PN), place_B, self.encoder_norm_in)
        h = functional.dropout(h, self.dropout.p, self.training)
        h = functional.relu(self.encoder_norm(self.encoder_hidden(h)))
        return functional.dropout(h, self.dropout.p, self.training)

    def decode(self, z_BZ: Tensor, node_BL: Tensor) -> Tensor:
        """(B, G): log of each gene's share of the counts that are expected, less those lost.

        It is what observed counts are compared with: a zero-inflated mean, not that of the kept.
        """
        log_share, lost = self.decoded(z_BZ, paths(node_BL, self.n_nodes))
        if lost is None:
            return log_share
        return functional.log_softmax(log_share + functional.logsigmoid(-lost), dim=1)

    def decoded(self, z_BZ: Tensor, path_BN: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, G) each: log share of the negative binomial's mean, and the logit of a lost count."""
        hidden_BH = self.decode_hidden(z_BZ, path_BN)
        logits_BG = self.decoder_out(hidden_BH) + self.gene_nodes(path_BN)
        lost = None if self.lost_out is None else self.lost_out(hidden_BH)
        return functional.log_softmax(logits_BG, dim=1), lost

    def decode_hidden(self, z_BZ: Tensor, path_PN: Tensor, place_B: Any = None) -> Tensor:
        """(B, H): the decoder's last hidden layer; paths as in `encode_hidden`."""
        effect_PH = self.decoder_nodes_in(path_PN)
        h = self._layer(self.decoder_in(z_BZ), effect_PH, place_B, self.decoder_norm_in)
        effect_PH = self.decoder_nodes(path_PN)
        return self._layer(self.decoder_hidden(h), effect_PH, place_B, self.decoder_norm)

    def _layer(self, h: Tensor, effect_PH: Tensor, place_B: Any, norm: nn.BatchNorm1d) -> Tensor:
        """Hidden units with a path's effects; `place_B` is each cell's path, None: one a cell."""
        h = h + (effect_PH if place_B is None else effect_PH[torch.from_numpy(place_B)])
        return functional.relu(norm(h))

    def centre(self, node_FL: Any) -> None:
        """Make the root the mean of the leaves; here their priors have done so.

        Args:
            node_FL: the nodes of all leaves.
        """

    def losses(self, batch: Minibatch, *, sampled: bool) -> tuple[Tensor, Tensor]:
        """Reconstruction loss and KL divergence of each cell, (B,) each, in nats.

        The reconstruction is from a draw of the latent state, or from its mean unless `sampled`.
        Genes that were not measured neither count nor take a share of the library. With a label
        head, a label is reconstructed too.
        """
        mean, log_variance = self.encode(batch.scaled_BG, batch.node_BL, batch.style_BL)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp() if sampled else mean
        divergence_BZ = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        reconstruction = -self.log_prob(batch, z).sum(dim=1)
        if self.label_head is not None and batch.label_B is not None:
            reconstruction = reconstruction + self.label_head.losses(z, batch.label_B)
        return reconstruction, divergence_BZ.sum(dim=1)

    def log_prob(self, batch: Minibatch, z_BZ: Tensor) -> Tensor:
        """(B, G): of the counts at some latent states, in nats; 0 of genes that were not measured.

        The mean is library times share; expected counts less those lost add up to less.
        """
        path_BN = paths(batch.node_BL, self.n_nodes)
        log_share, lost = self.decoded(z_BZ, path_BN)
        share, measured = log_share.exp(), batch.measured_G
        if measured is not None:
            share = share / (share * measured).sum(dim=1, keepdim=True)
        mean = share * batch.counts_BG.sum(dim=1, keepdim=True)
        log_theta = self.log_theta(path_BN)
        if lost is None:
            log_prob = negative_binomial_log_prob(batch.counts_BG, mean, log_theta)
        else:
            log_prob = zero_inflated_log_prob(batch.counts_BG, mean, log_theta, lost)
        return log_prob if measured is None else log_prob * measured

    def log_theta(self, path_BN: Tensor) -> Tensor:
        """(G,) or, where the tree has a part in it, (B, G): log of the inverse dispersion."""
        if self.theta_nodes is None:
            return self.log_theta_G
        changed: Tensor = self.log_theta_G + self.theta_nodes(path_BN)
        return changed

    def mean_losses(self, batch: Minibatch, *, sampled: bool) -> tuple[Tensor, Tensor]:
        """The means of `losses` over the cells: what training goes down."""
        reconstruction, divergence = self.losses(batch, sampled=sampled)
        return reconstruction.mean(), divergence.mean()

    @property
    def fused(self) -> bool:
        """Whether `sparse_step` has the losses of such a network."""
        return self.settings.fused

    def precisions(self) -> dict[str, float]:
        """The learned precision of each level's effects, by the name of their parameter."""
        return {
            f"{name}.levels.{level}": precision
            for name, effects in self.named_modules()
            if isinstance(effects, NodeEffects)
            for level, precision in enumerate(effects.precisions())
        }


def _norm(width: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(width, eps=1e-3, momentum=0.05)
