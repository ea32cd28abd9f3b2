"""Between which bounds nine tenths of a levelled value's posterior lie.

Two things are uncertain: the cell's latent state, which its own counts tell, and what its batch and
the reference do to a gene, which `EffectErrors` tells.

Shapes: B cells, S observations, G genes, Z latent dimensions, D axes, L levels of the batch tree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from levelseq.models.effect_errors import EffectErrors
from levelseq.models.networks import Minibatch
from levelseq.progress import notice

if TYPE_CHECKING:
    from levelseq.models.conditional_vae import VaeModel

__all__ = ["Intervals"]

DRAWS = 40
# Of 40 draws in order the i-th stands for the quantile (i - .5) / 40: a twentieth lies in the
# middle of the second and the third.
_KEPT = 3


class Intervals:
    """Lower and upper bounds of values on one reference.

    Args:
        model: one of the first of 0.1.0 has not kept how sure its effects are; they are then taken
            for certain.
        obs: the observations that are to be levelled.
        target_L: the reference's nodes; all -1: the root.
    """

    def __init__(self, model: VaeModel, obs: pd.DataFrame, target_L: Any) -> None:
        self._errors: EffectErrors | None = None
        if model.evidence is None:
            notice("normalize", "the model is of an earlier version: its effects count as certain")
        else:
            self._errors = EffectErrors(model, model.evidence, target_L)
            self._lacked = self._errors.lacked(obs)

    def bounds(
        self,
        value: Callable[[Tensor, Tensor], Tensor],
        own_BG: Tensor,
        batch: Minibatch,
        latent: tuple[Tensor, Tensor],
        place_BD: Any,
        rows: Any,
    ) -> tuple[Tensor, Tensor]:
        """(B, G) each: the bounds, between which the value at the mean state lies too.

        Args:
            value: (B, G) values of latent states (B, Z) and errors (B, G) of log ratios.
            own_BG: those of the mean states, without error.
            batch: the cells.
            latent: mean and log-variance (B, Z) of their states.
            place_BD: where they lie in the embedding.
            rows: their numbers among the observations, which decide the draws: the same cells have
                the same bounds every time.
        """
        noise = torch.Generator().manual_seed(int(rows[0]))
        mean_BZ, spread_BZ = latent[0], (latent[1] / 2).exp()
        normal = torch.randn((DRAWS, *mean_BZ.shape), generator=noise).to(mean_BZ)
        # One step for all genes and cells: each value has bounds of its own.
        step = torch.special.ndtri((torch.randperm(DRAWS, generator=noise) + 0.5) / DRAWS)
        sd_BG = self._sd(batch, place_BD, rows)
        lowest, highest = _Least(own_BG), _Least(own_BG)
        for z, s in zip(normal, step):
            drawn = value(mean_BZ + spread_BZ * z, sd_BG * float(s))
            lowest.add(drawn)
            highest.add(-drawn)
        # A posterior may be so skewed that the value at the mean state lies outside.
        return lowest.twentieth().minimum(own_BG), (-highest.twentieth()).maximum(own_BG)

    def _sd(self, batch: Minibatch, place_BD: Any, rows: Any) -> Tensor:
        """(B, G): of the log ratios' errors."""
        sd_BG = torch.zeros_like(batch.counts_BG)
        if self._errors is None:
            return sd_BG
        found = self._errors.sd(batch.node_BL.cpu().numpy(), self._lacked[rows], place_BD)
        return torch.as_tensor(found).to(sd_BG)


class _Least:
    """The least of many draws, element by element, without keeping the others.

    Args:
        like: a tensor of their shape.
    """

    def __init__(self, like: Tensor) -> None:
        self._kept = [torch.full_like(like, torch.inf) for _ in range(_KEPT)]

    def add(self, drawn: Tensor) -> None:
        for number, kept in enumerate(self._kept):
            self._kept[number], drawn = kept.minimum(drawn), kept.maximum(drawn)

    def twentieth(self) -> Tensor:
        """The 5 % quantile of 40 draws."""
        return (self._kept[1] + self._kept[2]) / 2
