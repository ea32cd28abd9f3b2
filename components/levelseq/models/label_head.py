"""A linear classifier on the latent state: where labels are known, training keeps them apart.

After scANVI (Xu et al. 2021). Labels may be missing, and some may be wrong: one is taken for the
true one with probability .9, else for any (Patrini et al. 2017), so that the slope of a label that
the counts speak against fades. Shapes: B cells, Z latent dimensions, K labels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LabelHead"]

WRONG = 0.1
WEIGHT = 5.0
"""Of a label's loss beside a cell's counts, which number thousands. Four times as much raised scIB
totals further, but mixed conditions within a type more."""


class LabelHead(nn.Linear):
    """Logits of K labels from latent states; only training has it."""

    def losses(self, z_BZ: Tensor, label_B: Tensor) -> Tensor:
        """(B,) weighted losses in nats; 0 where the label, a number, is unknown (-1)."""
        share_BK = torch.softmax(self(z_BZ), dim=1)
        share_B = share_BK.gather(1, label_B.clamp(min=0)[:, None])[:, 0]
        of_known = -torch.log((1 - WRONG) * share_B + WRONG / self.out_features)
        return WEIGHT * of_known * (label_B >= 0)

    def slopes(self, z_BZ: Tensor, label_B: Tensor, share: float) -> tuple[Tensor, float]:
        """(B, Z) slopes of the mean loss, times `share`, and the loss; its own slopes are added."""
        with torch.enable_grad():
            given_BZ = z_BZ.detach().requires_grad_()
            loss = self.losses(given_BZ, label_B).mean()
            loss.backward(loss.new_tensor(share))  # type: ignore[no-untyped-call]
        assert given_BZ.grad is not None
        return given_BZ.grad, loss.item()
