"""Generalization: does the next model do better on levelled values, at a site it has not seen?

A linear classifier of the condition and one of the type are fitted to all sites (or donors) but
some and asked about those, before and after levelling, with nothing taken out of the values.
Shapes: C cells (observations), G genes, R sites or donors, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.gates import Gate, Limits, judge, not_evaluated
from levelseq.validate.held_out import (
    Recall,
    balanced_accuracy,
    folds,
    held_out,
    measured,
    recall,
)
from levelseq.validate.jackknife import UNMEASURED, Measured
from levelseq.validate.sample import Sample, codes

__all__ = ["NAMES", "Generalized", "generalization_gates", "generalize"]

F64 = NDArray[np.float64]
Codes = NDArray[np.int64]

NAMES = (
    "generalization.condition_by_site",
    "generalization.condition_by_donor",
    "generalization.type_by_site",
    "generalization.type_by_donor",
)
_FOLDS = 4
_LEAST_OF_A_CLASS = 10
# Five observations in a hundred more told wrong; it never refuses.
_CHANGE = Limits((-0.05, None), (None, None))


@dataclass(frozen=True)
class Generalized:
    """How well one target is told of what was left out.

    Attributes:
        target: `condition` or `type`.
        left_out: `site` (the batch tree's top level) or `donor`.
        groups, classes: how many.
        before, after: balanced accuracy on counts and on levelled values.
        change: after less before.
        problem: why it could not be told; empty if it could.
        unseen: `site`, `donor`, or `sample` in bulk without donors.
    """

    target: str
    left_out: str
    groups: int = 0
    classes: int = 0
    before: Measured = UNMEASURED
    after: Measured = UNMEASURED
    change: Measured = UNMEASURED
    problem: str = ""
    unseen: str = ""

    @property
    def name(self) -> str:
        """Its gate's name."""
        return f"generalization.{self.target}_by_{self.left_out}"


def generalize(sample: Sample, seed: int) -> list[Generalized]:
    """Both targets by site and by donor, in the order of the gates."""
    targets = {"condition": codes(sample.condition_C), "type": sample.label_C}
    least = 1 if sample.single else _LEAST_OF_A_CLASS
    known = {name: _frequent(each, least) for name, each in targets.items() if each is not None}
    able = {name: each for name, each in known.items() if len(np.unique(each[each >= 0])) > 1}
    apart = {"site": sample.site_C, "donor": sample.people}
    found = {}
    for left_out, group_C in apart.items():
        if group_C is None or len(np.unique(group_C[group_C >= 0])) < 2:
            problem = f"There are not two {left_out}s to tell apart."
            told = [Generalized(name, left_out, problem=problem) for name in able]
        else:
            told = _left_out(sample, able, group_C, left_out, seed)
        found.update({each.name: each for each in told})
    for name in ("condition", "type"):
        if name not in able:
            problem = f"The study names no {'label' if name == 'type' else name} of two values."
            missing = [Generalized(name, each, problem=problem) for each in apart]
            found.update({each.name: each for each in missing})
    return [found[name] for name in NAMES]


def generalization_gates(found: list[Generalized]) -> list[Gate]:
    """A gate each; none of them fails."""
    return [_gate(each) for each in found]


def _gate(each: Generalized) -> Gate:
    if each.problem:
        return not_evaluated(each.name, each.problem)
    reason = (
        f"The {each.target} is told right in {each.after.value:.0%} of the observations of an"
        f" unseen {each.unseen} after levelling, in {each.before.value:.0%} before; chance gives"
        f" {1 / each.classes:.0%}."
    )
    return replace(
        judge(each.name, each.change.value, _CHANGE, reason), interval=each.change.interval
    )


def _left_out(
    sample: Sample, targets: dict[str, Codes], group_C: Codes, left_out: str, seed: int
) -> list[Generalized]:
    if not targets:
        return []
    first = np.maximum(next(iter(targets.values())), 0)
    fold_C = folds(group_C, np.where(group_C < 0, -1, first), _FOLDS)
    told = [
        held_out(x, list(targets.values()), fold_C, seed)
        for x in (sample.input_CG, sample.values_CG)
    ]
    unseen = sample.person if left_out == "donor" else left_out
    tables = [
        [recall(own, each[i], group_C) for each in told] for i, own in enumerate(targets.values())
    ]
    return [
        replace(_compared(name, left_out, before, after), unseen=unseen)
        for name, (before, after) in zip(targets, tables)
    ]


def _compared(target: str, left_out: str, before: Recall, after: Recall) -> Generalized:
    groups, classes = before.asked.shape
    if not np.isfinite(balanced_accuracy(before.share)):
        problem = f"Some {target} occurs at one {left_out} only: it cannot be learnt elsewhere."
        return Generalized(target, left_out, groups, classes, problem=problem)

    def change(earlier: F64, later: F64) -> float:
        return balanced_accuracy(later) - balanced_accuracy(earlier)

    return Generalized(
        target,
        left_out,
        groups,
        classes,
        measured(balanced_accuracy, before),
        measured(balanced_accuracy, after),
        measured(change, before, after),
    )


def _frequent(class_C: Codes, least: int) -> Codes:
    """Codes of the classes with enough observations, from 0 without gaps; -1 for the others."""
    names, sizes = np.unique(class_C[class_C >= 0], return_counts=True)
    kept = names[sizes >= least]
    found = np.searchsorted(kept, class_C).clip(0, max(0, len(kept) - 1))
    if len(kept) == 0:
        return np.full(len(class_C), -1, dtype=np.int64)
    return np.asarray(np.where(kept[found] == class_C, found, -1), dtype=np.int64)
