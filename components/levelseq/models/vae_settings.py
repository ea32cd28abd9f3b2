"""What the conditional VAE is built from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DEFAULTS", "VaeSettings"]


@dataclass(frozen=True)
class VaeSettings:
    """What a network is built from, beside the numbers of its genes and nodes: `config.json`.

    Attributes:
        n_latent: Z.
        n_hidden: H.
        dropout: share of hidden units dropped in training.
        likelihood: of counts: negative binomial, or zero-inflated.
        dispersion: one of each gene, or log-changes to it of every node of the batch tree too.
    """

    n_latent: int = 30
    n_hidden: int = 128
    dropout: float = 0.1
    likelihood: Literal["nb", "zinb"] = "nb"
    dispersion: Literal["gene", "gene-batch"] = "gene"

    @property
    def fused(self) -> bool:
        """Whether the losses of a sparse minibatch are those of such a network."""
        return self.likelihood == "nb" and self.dispersion == "gene"


DEFAULTS = VaeSettings()
