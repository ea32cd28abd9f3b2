"""Signature: is the difference between the conditions the same as before levelling?

The truth is what the counts say within batches: pseudobulk log fold changes with an effect of
each leaf batch taken out. Beside it stand the same log fold changes of the levelled values across
batches, with no batch in the model: levelling must have done that part.

Shapes: U units (pseudobulk samples), G genes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.confounding import groups
from levelseq.validate import survival
from levelseq.validate.contrast import DISCOVERY, Contrast, contrast_of
from levelseq.validate.jackknife import UNMEASURED, Measured
from levelseq.validate.moderated_t import Estimate, adjusted
from levelseq.validate.pseudobulk import Pseudobulk, Units

__all__ = ["Comparison", "compare"]

Bool = NDArray[np.bool_]

# Three quarters of the condition's variance lie between batches.
NEARLY = 4.0


@dataclass(frozen=True)
class Comparison:
    """One level of the condition against the most frequent one.

    Attributes:
        level: the level.
        base: the most frequent level.
        genes: genes tested.
        carrying: genes that differ within batches (5 % false discovery rate).
        correlation, slope: of the log fold changes of those genes, levelled on within batches.
        same_sign: share of those genes whose difference has the same sign after levelling.
        removed: share of the condition's variance over all genes that levelling removed.
        false_genes: genes that differ after levelling alone, and more than the counts allow.
        permuted: share of genes below p = .05 when the condition is dealt out anew.
        inflation: how many times batch inflates the variance of the within-batch estimate.
        problem: why it could not be evaluated; empty if it was.
        confounded: where no batch, or one sample alone, tells level and base apart: which
            levels are in which batches.
        contrast: what it was computed from.
    """

    level: str
    base: str
    genes: int = 0
    carrying: int = 0
    correlation: Measured = UNMEASURED
    slope: Measured = UNMEASURED
    same_sign: Measured = UNMEASURED
    removed: Measured = UNMEASURED
    false_genes: int = 0
    permuted: Measured = UNMEASURED
    inflation: float = 1.0
    problem: str = ""
    confounded: str = ""
    contrast: Contrast | None = None


def compare(sums: Pseudobulk, seed: int = 0) -> list[Comparison]:
    """Every level of the condition against the most frequent one (by units, then by name).

    Args:
        sums: pseudobulk of counts and levelled values.
        seed: of the permutations.
    """
    names, counts = np.unique(sums.units.condition_U, return_counts=True)
    if len(names) < 2:
        return []
    base = str(names[counts.argmax()])
    levels = [str(name) for name in names if name != base]
    return [_compare(sums, level, base, seed) for level in levels]


def _compare(sums: Pseudobulk, level: str, base: str, seed: int) -> Comparison:
    contrast = contrast_of(sums, level, base)
    if isinstance(contrast, str):
        places = "" if contrast else _places(sums.units, level, base)
        return Comparison(level, base, problem=contrast, confounded=places)
    if contrast.inflation > NEARLY and contrast.alone:
        places = f"{_places(sums.units, level, base)}, where one sample alone tells them apart"
        return Comparison(level, base, confounded=places, inflation=contrast.inflation)
    carrying = contrast.carrying
    permuted = survival.false_positives(contrast, seed)
    return Comparison(
        level,
        base,
        genes=int(contrast.expressed.sum()),
        carrying=int(carrying.sum()),
        correlation=_measured(contrast, survival.correlation, carrying),
        slope=_measured(contrast, survival.slope, carrying),
        same_sign=_measured(contrast, survival.same_sign, carrying),
        removed=Measured(*survival.variance_removed(contrast)),
        false_genes=int(_false(contrast.within, contrast.after, carrying).sum()),
        permuted=Measured(*permuted) if permuted else UNMEASURED,
        inflation=contrast.inflation,
        contrast=contrast,
    )


def _measured(contrast: Contrast, statistic: survival.Statistic, genes: Bool) -> Measured:
    value = statistic(contrast.effects, genes)
    return Measured(value, contrast.interval(lambda effects: statistic(effects, genes)))


def _false(within: Estimate, after: Estimate, carrying: Bool) -> Bool:
    """Genes that differ after levelling only, with an effect that the counts speak against.

    Levelled values vary less, so that a true but weak effect may pass the test after levelling
    and not before: such a gene counts only when its new effect is larger than the old one and
    incompatible with it.
    """
    new = (adjusted(after.p_values()) < DISCOVERY) & ~carrying
    larger = np.abs(after.effect) > np.abs(within.effect)
    against = adjusted(within.p_values(after.effect)) < DISCOVERY
    return np.asarray(new & larger & against)


def _places(units: Units, level: str, base: str) -> str:
    """Which of two levels are in how many batches, in words: `'a' in 2 batches, 'b' in 1`."""
    two = np.isin(units.condition_U, [level, base])
    linked = groups(units.condition_U[two].tolist(), units.batch_U[two].tolist())
    if len(linked) > 1:
        parts = [
            f"{' '.join(map(repr, each.levels))} in {_batches(each.batches)}" for each in linked
        ]
        return ", ".join(parts)
    both = set(units.batch_U[units.condition_U == level]) & set(
        units.batch_U[units.condition_U == base]
    )
    return f"{level!r} and {base!r} meet in {_batches(sorted(both))}"


def _batches(names: tuple[str, ...] | list[str]) -> str:
    listed = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{'batch' if len(names) == 1 else 'batches'} {listed}"
