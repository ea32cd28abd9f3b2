"""What a ComBat fit froze, and the slope and offset that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.design import Coding

__all__ = ["State"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class State:
    """What a fit froze: B batches, G genes, K columns of covariates.

    Attributes:
        batches: names, in the order of the rows of the arrays.
        reference_batch: the batch that stays as it is; empty: none.
        mean_only: variances are left.
        coding: covariates and their levels.
        grand_mean_G: mean of the batches (or the reference batch's).
        sd_G: pooled standard deviation; 1 for a gene that is not adjusted.
        effect_KG: effects of the covariates, which stay.
        gamma_BG, delta_BG: shrunk shift, in standard deviations, and scale of variance.
        adjusted_BG: where the batch's values are changed: not in the reference batch, nor for a
            gene that is uniform within a batch (as sva), that has no variance beside the
            covariates, or that the batch has no value of.
        prior: parametric or nonparametric.
    """

    batches: tuple[str, ...]
    reference_batch: str
    mean_only: bool
    coding: Coding
    grand_mean_G: F64
    sd_G: F64
    effect_KG: F64
    gamma_BG: F64
    delta_BG: F64
    adjusted_BG: Bool
    prior: str = "parametric"

    @property
    def adjusted_genes(self) -> Bool:
        """(G,): genes that the fit adjusts in any batch."""
        return np.asarray(self.adjusted_BG.any(axis=0))

    def notices(self) -> list[str]:
        """What a user should know of the fit, a line each."""
        lines = []
        n_genes = len(self.grand_mean_G)
        left = int((~self.adjusted_genes).sum())
        if left:
            lines.append(
                f"{left} of {n_genes} genes are uniform within a batch and left as they are"
            )
        others = [b for b, name in enumerate(self.batches) if name != self.reference_batch]
        partly = int((self.adjusted_genes & ~self.adjusted_BG[others].all(axis=0)).sum())
        if partly:
            lines.append(
                f"{partly} of {n_genes} genes have no value, or do not vary, in some batch "
                "and are left as they are in it"
            )
        if self.mean_only:
            lines.append("means are levelled and variances left")
        return lines

    def slope_and_offset(self, batches: Int) -> tuple[F64, F64]:
        """(B, G) each, of some batches: a value becomes slope x + offset, but for covariates."""
        adjusted = self.adjusted_BG[batches]
        slope_BG = np.where(adjusted, 1 / np.sqrt(self.delta_BG[batches]), 1.0)
        shift_BG = self.gamma_BG[batches] * self.sd_G * slope_BG
        return slope_BG, np.where(adjusted, (1 - slope_BG) * self.grand_mean_G - shift_BG, 0.0)
