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
from levelseq.models.likelihood import negative_binomial_log_prob
from levelseq.models.sparse_encoder import row_major

__all__ = ["ConditionalVAE", "Minibatch", "NodeEffects", "paths"]


HYPERPRIOR = 0.1


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


class NodeEffects(nn.Module):
    """A vector for each node of the batch tree; a cell gets the sum along its path.

    Every vector is a deviation from its parent, drawn towards zero by a normal prior. A node that
    the tree lacks contributes nothing, so that an unseen leaf falls back to its parent's mean.
    """

    def __init__(self, n_nodes: Sequence[int], width: int, prior_sd: float) -> None:
        super().__init__()
        self.levels = nn.ParameterList(nn.Parameter(torch.zeros(n, width)) for n in n_nodes)
        self.width = width
        self.prior_sd = prior_sd

    def forward(self, path_BN: Tensor) -> Tensor:
        """(B, width): the sum of the effects along each cell's path, as `paths` gives it."""
        return path_BN @ torch.cat(tuple(self.levels))


def paths(node_BL: Tensor, n_nodes: Sequence[int]) -> Tensor:
    """(B, N): 1 for each node on a cell's path, over all nodes of all levels."""
    path_BN = torch.zeros(len(node_BL), sum(n_nodes), device=node_BL.device)
    first = 0
    for level, number in enumerate(n_nodes):
        known = node_BL[:, level] >= 0
        path_BN[known.nonzero()[:, 0], first + node_BL[known, level]] = 1.0
        first += number
    return path_BN


class ConditionalVAE(nn.Module):
    """Counts given a latent state and the path through the batch tree, as negative binomials.

    After scVI (Lopez et al. 2018), with the one-hot batch replaced by effects on the batch tree:
    on the hidden layers of encoder and decoder, and one log-fold change for each node and gene.

    Args:
        n_genes: G.
        n_nodes: for each level of the batch tree, how many nodes it has.
        n_hidden: H.
        n_latent: Z.
        dropout: share of hidden units dropped in training.
    """

    def __init__(
        self,
        n_genes: int,
        n_nodes: Sequence[int],
        n_hidden: int = 128,
        n_latent: int = 30,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.n_genes, self.n_hidden, self.n_latent = n_genes, n_hidden, n_latent
        self.n_nodes = tuple(n_nodes)
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
        self.dropout = nn.Dropout(dropout)
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
        """(B, G): log of each gene's share of the cell's counts."""
        path_BN = paths(node_BL, self.n_nodes)
        hidden_BH = self.decode_hidden(z_BZ, path_BN)
        logits_BG = self.decoder_out(hidden_BH) + self.gene_nodes(path_BN)
        return functional.log_softmax(logits_BG, dim=1)

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

    def losses(self, batch: Minibatch, *, sampled: bool) -> tuple[Tensor, Tensor]:
        """Reconstruction loss and KL divergence of each cell, (B,) each, in nats.

        The reconstruction is from a draw of the latent state, or from its mean unless `sampled`.
        Genes that were not measured neither count nor take a share of the library. With a label
        head, a label is reconstructed too.
        """
        mean, log_variance = self.encode(batch.scaled_BG, batch.node_BL, batch.style_BL)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp() if sampled else mean
        divergence_BZ = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        expected = self.decode(z, batch.node_BL).exp()
        library = batch.counts_BG.sum(dim=1, keepdim=True)
        if batch.measured_G is not None:
            expected = expected / (expected * batch.measured_G).sum(dim=1, keepdim=True)
        log_prob = negative_binomial_log_prob(batch.counts_BG, expected * library, self.log_theta_G)
        if batch.measured_G is not None:
            log_prob = log_prob * batch.measured_G
        reconstruction = -log_prob.sum(dim=1)
        if self.label_head is not None and batch.label_B is not None:
            reconstruction = reconstruction + self.label_head.losses(z, batch.label_B)
        return reconstruction, divergence_BZ.sum(dim=1)

    def precisions(self) -> dict[str, float]:
        """The precision of each level's normal prior, by the name of its parameter.

        Learned: one over the mean square of the level's effects, drawn to what was expected of them
        as by a tenth as many effects more (the mode under a gamma hyperprior). A level whose nodes
        are alike is shrunk to its parents; one that differs is left to.
        """
        return {
            f"{name}.levels.{level}": _learned_precision(table.detach(), m.prior_sd)
            for name, m in self.named_modules()
            if isinstance(m, NodeEffects)
            for level, table in enumerate(m.levels)
        }


def _learned_precision(table: Tensor, prior_sd: float) -> float:
    if not table.any():
        return 1 / prior_sd**2
    mean_square = float(table.double().square().mean())
    return (1 + HYPERPRIOR) / (mean_square + HYPERPRIOR * prior_sd**2)


def _norm(width: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(width, eps=1e-3, momentum=0.05)
