"""Mixing: do observations of different batches lie among each other?

Shapes: C cells (observations), D dimensions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.gates import Gate, Limits, judge, not_evaluated

__all__ = [
    "LISI_OBSERVATIONS",
    "NEGLIGIBLE",
    "BatchVariance",
    "batch_variance",
    "ilisi_gate",
    "permuted",
    "variance_gate",
]

Text = NDArray[Any]

LISI_OBSERVATIONS = 30
# A share of variance this close to what chance gives is no batch effect.
NEGLIGIBLE = 0.01


class BatchVariance(NamedTuple):
    """Share of an embedding's variance that lies between batches, and what chance would give."""

    share: float
    chance: float

    @property
    def excess(self) -> float:
        """What is above chance."""
        return max(0.0, self.share - self.chance)


def batch_variance(x_CD: NDArray[Any], batch_C: Text, label_C: Text | None = None) -> BatchVariance:
    """Share of variance between batches; given labels, within each label.

    Principal component regression (Büttner 2019) over all components of an embedding is this
    ratio of sums of squares. Within labels a difference in composition does not count as batch.
    """
    groups = np.zeros(len(x_CD), dtype=np.int64) if label_C is None else _codes(label_C)
    between = total = by_chance = 0.0
    for group in np.unique(groups):
        x, batch = np.asarray(x_CD[groups == group], dtype=np.float64), batch_C[groups == group]
        x = x - x.mean(axis=0)
        own = float((x**2).sum())
        names = np.unique(batch)
        means = [(batch == b).sum() * float((x[batch == b].mean(axis=0) ** 2).sum()) for b in names]
        between, total = between + sum(means), total + own
        by_chance += own * (len(names) - 1) / max(len(x) - 1, 1)
    if total <= 0:
        return BatchVariance(float("nan"), float("nan"))
    return BatchVariance(between / total, by_chance / total)


def permuted(batch_C: Text, label_C: Text | None, seed: int) -> Text:
    """Batches dealt out anew, within each label where there are labels."""
    random = np.random.default_rng([seed, 11])
    groups = np.zeros(len(batch_C), dtype=np.int64) if label_C is None else _codes(label_C)
    out = np.array(batch_C)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        out[rows] = out[random.permutation(rows)]
    return out


def ilisi_gate(after: float, before: float, allowed: float, *, labelled: bool) -> Gate:
    """Local mixing of batches among each observation's neighbours (iLISI, Korsunsky 2019).

    Passes where two fifths of the way from unintegrated to what the composition allows are gone,
    or four fifths of what is allowed are reached. Without labels a difference in composition
    cannot be told from a batch effect, so the gate warns and does not fail.

    Args:
        after: scaled iLISI of the levelled embedding, 0 to 1.
        before: of the unintegrated one.
        allowed: of the levelled one, were batches dealt out at random (within labels).
        labelled: whether `allowed` is within labels.
    """
    way = max(allowed - before, 0.0)
    accepted = min(0.8 * allowed, before + 0.4 * way)
    tolerated = min(0.6 * allowed, before + 0.1 * way) if labelled else None
    reason = (
        f"Neighbourhoods mix batches to {after:.2f} (unintegrated {before:.2f}; random mixing"
        f"{' within labels' if labelled else ''} would give {allowed:.2f})."
    )
    return judge("mixing.ilisi", after, Limits((accepted, None), (tolerated, None)), reason)


def variance_gate(after: BatchVariance, before: BatchVariance, *, labelled: bool) -> Gate:
    """Share of the latent variance that batch still explains.

    Without labels part of it may be composition, which levelling must leave, so less is asked.
    """
    name = "mixing.batch_variance"
    where = " within labels" if labelled else ""
    if not np.isfinite(before.share) or not np.isfinite(after.share):
        return not_evaluated(name, "The embedding has no variance.")
    if before.excess < NEGLIGIBLE:
        accepted, tolerated = after.chance + 0.03, after.chance + 0.08
        if after.share <= accepted:
            reason = (
                "Batch explained no more than chance before: there was no batch effect to remove,"
                " and none was put in."
            )
        else:
            reason = (
                "Batch explained no more than chance before, yet it explains"
                f" {after.share:.1%} of the variance{where} after levelling."
            )
    else:
        left, most = (0.4, 0.7) if labelled else (0.5, 0.8)
        accepted = after.chance + max(left * before.excess, NEGLIGIBLE)
        tolerated = after.chance + max(most * before.excess, 2 * NEGLIGIBLE)
        reason = (
            f"Batch explains {after.share:.1%} of the variance{where} after levelling,"
            f" {before.share:.1%} before."
        )
    return judge(name, after.share, Limits((None, accepted), (None, tolerated)), reason)


def _codes(label_C: Text) -> NDArray[np.int64]:
    return np.asarray(np.unique(label_C, return_inverse=True)[1], dtype=np.int64)
