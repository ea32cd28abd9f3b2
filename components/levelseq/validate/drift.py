"""The shift of a batch's cells from where cells of their kind lay when the model was trained.

Shapes: C cells of one batch, A anchor cells, Z dimensions of the levelled embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from levelseq.validate.composition import FEWEST_OF_KIND

__all__ = ["Prototypes", "latent_shift"]


@dataclass(frozen=True)
class Prototypes:
    """Kinds of cells among the anchors, found without labels.

    Attributes:
        centre: (P, Z) mean of each prototype's anchors.
        sd: (Z,) standard deviation of cells around their prototype's mean.
        size: (P,) anchors of each prototype.
        member: (A,) each anchor's prototype.
    """

    centre: Any
    sd: Any
    size: Any
    member: Any

    @classmethod
    def of(cls, anchors: Any, noise: Any, seed: int = 0) -> Prototypes:
        """K-means with about one prototype for 50 anchors, at most 20.

        Args:
            anchors: (A, Z) places in the levelled embedding.
            noise: (Z,) variance of a cell's place under the model. It belongs to the
                spread of a kind: in a dimension that the model does not use no shift counts.
            seed: of the k-means.
        """
        number = int(np.clip(len(anchors) // 50, 1, 20))
        fit = KMeans(number, n_init=4, random_state=seed).fit(anchors.astype(np.float64))
        member = fit.labels_
        size = np.bincount(member, minlength=number)
        centre = np.stack([anchors[member == p].mean(axis=0) for p in range(number)])
        freedom = max(1, len(anchors) - number)
        spread = (anchors - centre[member]).var(axis=0) * len(anchors) / freedom + noise
        return cls(centre, np.sqrt(np.maximum(spread, 1e-12)), size, member)

    def nearest(self, cells: Any) -> Any:
        """(C,): the prototype that each cell is nearest to, in standard deviations."""
        scaled, centre = cells / self.sd, self.centre / self.sd
        squared = (centre**2).sum(axis=1) - 2 * scaled @ centre.T
        return squared.argmin(axis=1)


def latent_shift(cells: Any, prototypes: Prototypes) -> float:
    """How far a batch's cells lie from anchors of their kind, in standard deviations of a kind.

    Cells are compared with the prototype that they are nearest to, so that another mix of cell
    kinds is not drift: the shift is the root of the mean over cells of the squared distance
    between their kind's mean and the prototype's, less what sampling alone would give.

    Returns:
        0 for a batch that cannot be told from the anchors; NaN for fewer than 5 cells of any kind.
    """
    nearest = prototypes.nearest(cells)
    total, counted = 0.0, 0
    for p in np.unique(nearest):
        own = (cells[nearest == p] - prototypes.centre[p]) / prototypes.sd
        if len(own) < FEWEST_OF_KIND:
            continue
        sampling = own.var(axis=0, ddof=1).sum() * (1 / len(own) + 1 / prototypes.size[p])
        total += len(own) * ((own.mean(axis=0) ** 2).sum() - sampling)
        counted += len(own)
    return float(np.sqrt(max(total / counted, 0.0))) if counted else float("nan")
