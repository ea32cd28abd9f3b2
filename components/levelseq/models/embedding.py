"""The levelled embedding: principal components of levelled log expression.

Distances in it are differences in expression, not in the latent space's arbitrary scale.
Shapes: B cells, G variable genes, D dimensions, N leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from levelseq.cohort.gene_space import GeneSpace
from levelseq.models.minibatches import CohortMinibatches, blocks
from levelseq.models.networks import ConditionalVAE, Minibatch

__all__ = ["Embedding"]

RESIDUAL_KEPT = 0.2
PER = 1e4


@dataclass(frozen=True)
class Embedding:
    """What places a cell: the decoder's expectation, and a part of what its counts show beyond it.

    Decoded values alone place cells by what the model has learned; a fifth of the residual keeps
    finer differences in their places too. A leaf's mean residual is taken out, since it is the
    leaf's: mostly its depth, which zeros let through.

    Attributes:
        centre_G, loadings_GD: of the principal components.
        residual_NG: mean residual of each leaf, and behind them the mean over all cells, for
            observations of a leaf that is not known.
    """

    centre_G: Any
    loadings_GD: Any
    residual_NG: Any

    @classmethod
    def fit(
        cls,
        network: ConditionalVAE,
        space: GeneSpace,
        minibatches: CohortMinibatches,
        chosen: Any,
        n_leaves: int,
    ) -> Embedding:
        """Residuals over all cells, components over the chosen ones, with a fixed sign."""
        residual_NG = _mean_residuals(network, space, minibatches, n_leaves)
        unprojected = cls(np.zeros(1), np.zeros((1, 1)), residual_NG)
        x_CG = np.concatenate(
            [
                unprojected.expression(network, space, *encoded(network, minibatches, part))
                for part in blocks(chosen)
            ]
        )
        kept = min(network.n_latent, *x_CG.shape)
        fitted = PCA(kept, svd_solver="covariance_eigh").fit(x_CG)
        loadings_GD = fitted.components_.T
        loadings_GD *= np.sign(loadings_GD[np.abs(loadings_GD).argmax(axis=0), np.arange(kept)])
        return cls(fitted.mean_.astype(np.float32), loadings_GD.astype(np.float32), residual_NG)

    def expression(
        self, network: ConditionalVAE, space: GeneSpace, batch: Minibatch, latent_BZ: Tensor
    ) -> Any:
        """(B, G) log1p of counts per 10,000 on the root of the tree, most noise taken out."""
        expected, shown = _expected_and_shown(network, space, batch, latent_BZ)
        leaf = batch.node_BL[:, -1].cpu().numpy()
        return expected + RESIDUAL_KEPT * (shown - expected - self.residual_NG[leaf])

    def project(
        self, network: ConditionalVAE, space: GeneSpace, batch: Minibatch, latent_BZ: Tensor
    ) -> Any:
        """(B, D): where cells lie."""
        x_BG = self.expression(network, space, batch, latent_BZ)
        return (x_BG - self.centre_G) @ self.loadings_GD

    def with_leaves(self, more: int) -> Embedding:
        """With room for more leaves, whose residual is the mean over all cells."""
        known, unknown = self.residual_NG[:-1], self.residual_NG[-1:]
        grown = np.concatenate([known, np.repeat(unknown, more + 1, axis=0)])
        return replace(self, residual_NG=grown)

    def with_residual_of(
        self,
        network: ConditionalVAE,
        space: GeneSpace,
        cells: CohortMinibatches,
        rows: Any,
        leaf: int,
    ) -> Embedding:
        """With a leaf's residual measured on its cells."""
        residual_NG = self.residual_NG.copy()
        residual_NG[leaf] = _sum_of_residuals(network, space, cells, rows) / len(rows)
        return replace(self, residual_NG=residual_NG)


def encoded(
    network: ConditionalVAE, minibatches: CohortMinibatches, observations: Any
) -> tuple[Minibatch, Tensor]:
    """What the network is shown of some observations, and the mean of their latent states."""
    network.eval()
    batch = minibatches.tensors(observations)
    with torch.no_grad():
        return batch, network.encode(batch.scaled_BG, batch.node_BL)[0]


def _expected_and_shown(
    network: ConditionalVAE, space: GeneSpace, batch: Minibatch, latent_BZ: Tensor
) -> tuple[Any, Any]:
    """(B, G) log1p of counts per 10,000 on the root: as decoded, and as the counts have it."""
    network.eval()
    with torch.no_grad():
        root = network.decode(latent_BZ, torch.full_like(batch.node_BL, -1))
        own = network.decode(latent_BZ, batch.node_BL)
        expected = torch.log1p(root.exp() * (PER * space.variable_share))
        per_10k = batch.scaled_BG * (PER / space.reference_library)
        shown = torch.log1p(per_10k * torch.exp(root - own))
    return expected.cpu().numpy(), shown.cpu().numpy()


def _mean_residuals(
    network: ConditionalVAE, space: GeneSpace, minibatches: CohortMinibatches, n_leaves: int
) -> Any:
    leaf = minibatches.leaves()
    sums = np.stack(
        [
            _sum_of_residuals(network, space, minibatches, np.flatnonzero(leaf == number))
            for number in range(n_leaves)
        ]
    )
    sizes = np.bincount(leaf, minlength=n_leaves)[:, None]
    means = sums / np.maximum(sizes, 1)
    return np.concatenate([means, sums.sum(axis=0, keepdims=True) / len(leaf)]).astype(np.float32)


def _sum_of_residuals(
    network: ConditionalVAE, space: GeneSpace, minibatches: CohortMinibatches, rows: Any
) -> Any:
    total = np.zeros(network.n_genes)
    for part in blocks(rows):
        expected, shown = _expected_and_shown(network, space, *encoded(network, minibatches, part))
        total += (shown - expected).sum(axis=0, dtype=np.float64)
    return total
