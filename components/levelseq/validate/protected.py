"""Gene sets that must stay: does the batch that levelling removes sit in them, and what is kept?

Shapes: G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from levelseq.validate import survival
from levelseq.validate.jackknife import Measured
from levelseq.validate.moderated_t import adjusted
from levelseq.validate.signature import Comparison

__all__ = [
    "Kept",
    "SetFound",
    "drivers_of",
    "examine",
    "kept_of",
    "share_by_chance",
    "signature_of",
]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

_DRAWS = 999
_STRATA = 10
_LEAST_CARRYING = 3


@dataclass(frozen=True)
class Kept:
    """How much of a condition's difference a gene set keeps.

    Attributes:
        level, base: the comparison, that which keeps least.
        carrying: genes of the set that differ within batches.
        slope: of their log fold changes, levelled across batches on counts within.
    """

    level: str
    base: str
    carrying: int
    slope: Measured


@dataclass(frozen=True)
class SetFound:
    """One gene set.

    Attributes:
        name: the set's.
        size: genes that the set names.
        found: those among the variable genes.
        share: of the batch that levelling removes, the part that sits in the set.
        expected: the same of as many genes with as many counts.
        p: probability of such a share by chance, adjusted over the sets (Benjamini & Hochberg).
        kept: None where fewer than three of its genes differ between conditions.
    """

    name: str
    size: int
    found: int
    share: float
    expected: float
    p: float
    kept: Kept | None


def examine(
    sets: dict[str, Bool],
    sizes: Sequence[int],
    removed_G: F64 | None,
    mean_G: F64,
    compared: list[Comparison],
    seed: int,
) -> list[SetFound]:
    """Look at each set.

    Args:
        sets: name -> its genes (G,).
        sizes: genes that each set names.
        removed_G: what levelling removes of each gene's part in telling the batches; or None.
        mean_G: the genes' mean counts.
        compared: the condition's comparisons.
        seed: of the random sets.
    """
    chance = [share_by_chance(genes, removed_G, mean_G, seed) for genes in sets.values()]
    p = np.array([each[2] for each in chance])
    known = np.isfinite(p)
    p[known] = adjusted(p[known])
    return [
        SetFound(
            name, size, int(genes.sum()), share, expected, float(own), kept_of(compared, genes)
        )
        for (name, genes), size, (share, expected, _), own in zip(sets.items(), sizes, chance, p)
    ]


def share_by_chance(
    genes: Bool, removed_G: F64 | None, mean_G: F64, seed: int
) -> tuple[float, float, float]:
    """A set's share of a positive quantity, the mean share of random sets, and the p-value.

    A random set has as many genes of each tenth of expression: genes with more counts tell more.
    """
    total = 0.0 if removed_G is None else float(removed_G.sum())
    if removed_G is None or total <= 0 or not genes.any():
        return float("nan"), float("nan"), float("nan")
    random = np.random.default_rng([seed, 23])
    order = np.argsort(np.argsort(mean_G, kind="stable"), kind="stable")
    stratum = order * _STRATA // len(mean_G)
    drawn = np.zeros(_DRAWS)
    for tenth in np.unique(stratum[genes]):
        members = np.flatnonzero(stratum == tenth)
        wanted = int((genes & (stratum == tenth)).sum())
        picks = np.argsort(random.random((_DRAWS, len(members))), axis=1)[:, :wanted]
        drawn += removed_G[members[picks]].sum(axis=1)
    own = float(removed_G[genes].sum())
    p = (1 + int((drawn >= own * (1 - 1e-12)).sum())) / (1 + _DRAWS)
    return own / total, float(drawn.mean()) / total, p


def kept_of(compared: list[Comparison], genes: Bool) -> Kept | None:
    """The comparison in which a set's genes keep least of their difference."""
    found = []
    for each in compared:
        if each.contrast is None:
            continue
        contrast = each.contrast
        carrying = contrast.carrying & genes[contrast.expressed]
        if carrying.sum() < _LEAST_CARRYING:
            continue
        value = survival.slope(contrast.effects, carrying)
        interval = contrast.interval(partial(survival.slope, genes=carrying))
        found.append(Kept(each.level, each.base, int(carrying.sum()), Measured(value, interval)))
    return min(found, key=lambda kept: kept.slope.value, default=None)


def signature_of(compared: list[Comparison], genes: int) -> Bool:
    """The genes (G,) that differ between any level of the condition and the usual one."""
    found = np.zeros(genes, dtype=np.bool_)
    for each in compared:
        if each.contrast is not None:
            found[np.flatnonzero(each.contrast.expressed)[each.contrast.carrying]] = True
    return found


def drivers_of(removed_G: F64) -> Bool:
    """The fewest genes (G,) that hold half of what is removed."""
    order = np.argsort(-removed_G, kind="stable")
    running = np.cumsum(removed_G[order])
    half = int(np.searchsorted(running, running[-1] / 2)) + 1 if running[-1] > 0 else 0
    found = np.zeros(len(removed_G), dtype=np.bool_)
    found[order[:half]] = True
    return found
