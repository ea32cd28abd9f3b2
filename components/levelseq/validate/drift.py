"""Drift: do a batch's cells lie where cells of their kind lay when the model was trained?

Shapes: C cells of one batch, A anchor cells, Z dimensions of the levelled embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student
from sklearn.cluster import KMeans

from levelseq.validate.gates import Gate, Limits, judge, not_evaluated

__all__ = ["FALSE_ALARM_RATE", "History", "Prototypes", "drift_gate", "latent_shift"]

FALSE_ALARM_RATE = 0.01
FEWEST_CELLS = 5


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
        if len(own) < FEWEST_CELLS:
            continue
        sampling = own.var(axis=0, ddof=1).sum() * (1 / len(own) + 1 / prototypes.size[p])
        total += len(own) * ((own.mean(axis=0) ** 2).sum() - sampling)
        counted += len(own)
    return float(np.sqrt(max(total / counted, 0.0))) if counted else float("nan")


@dataclass(frozen=True)
class History:
    """Shifts of batches that were mapped as if unseen, of the training cohort."""

    shifts: tuple[float, ...]

    def limit(self, batches: int, least: float = 0.0) -> float | None:
        """The shift that one of some new batches exceeds by chance with 1 % probability.

        Args:
            batches: how many new batches are looked at together.
            least: a shift that is too small to matter, whatever the history.

        A one-sided prediction interval by Student's t on the square root of the shift, each of
        the new batches allowed its share of the 1 %. None for fewer than three batches of history.
        """
        if len(self.shifts) < 3:
            return None
        root = np.sqrt(np.array(self.shifts))
        quantile = student.ppf(1 - FALSE_ALARM_RATE / max(1, batches), len(root) - 1)
        margin = quantile * root.std(ddof=1) * np.sqrt(1 + 1 / len(root))
        return max(float((root.mean() + margin) ** 2), least)


def drift_gate(
    name: str, shifts: dict[str, float], history: History, sentence: str, least: float = 0.0
) -> Gate:
    """A drift gate of a cohort's batches against the history.

    Args:
        name: `drift.latent` or `drift.expression`.
        shifts: batch -> its shift as mapped.
        history: of batches mapped as if unseen.
        sentence: what the worst shift means, with `{batch}` and `{shift}`.
        least: a shift that is too small to matter.
    """
    measured = {batch: shift for batch, shift in shifts.items() if np.isfinite(shift)}
    if not measured:
        return not_evaluated(name, "No batch has enough cells of one kind.")
    limit = history.limit(len(measured), least)
    if limit is None:
        reason = f"A limit needs three batches of history, and there are {len(history.shifts)}."
        return not_evaluated(name, reason)
    worst = max(measured, key=lambda batch: measured[batch])
    reason = (
        sentence.format(batch=worst, shift=f"{measured[worst]:.2f}")
        + f"; {len(history.shifts)} batches of the history predict at most {limit:.2f}, "
        "with 1 % false alarms."
    )
    bounds = (None, limit)
    return judge(name, measured[worst], Limits(bounds, bounds), reason, "baseline")
