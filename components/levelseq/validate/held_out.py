"""Predictions of observations whose donor or batch the classifier has not seen.

Shapes: C cells (observations), G genes, R groups (donors, batches, sites), K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.jackknife import Measured, jackknife, left_out
from levelseq.validate.linear_classifier import fit, principal_axes

__all__ = ["Recall", "balanced_accuracy", "folds", "held_out", "measured", "recall"]

F64 = NDArray[np.float64]
Codes = NDArray[np.int64]

_FOLDS = 6
_GROUPS = 4
_DRAWS = 200


class Recall(NamedTuple):
    """Of each group (R) and class (K): how many were asked about, how many were told right."""

    right: Codes
    asked: Codes

    @property
    def share(self) -> F64:
        """(R, K); NaN where none was asked about."""
        return np.where(self.asked > 0, self.right / np.maximum(self.asked, 1), np.nan)


def folds(group_C: Codes, class_C: Codes, most: int = _FOLDS) -> Codes:
    """(C,): whole groups dealt into folds, those of one class in turn; -1 where class is -1.

    With no more groups than folds each group is a fold of its own.
    """
    known = class_C >= 0
    groups = np.unique(group_C[known])
    usual = [np.bincount(class_C[known & (group_C == group)]).argmax() for group in groups]
    dealt = groups[np.lexsort((groups, usual))]
    fold_of = {int(group): i % most for i, group in enumerate(dealt)}
    found = [fold_of.get(int(group), -1) if k else -1 for group, k in zip(group_C, known)]
    return np.array(found, dtype=np.int64)


def held_out(
    x_CG: F64, targets: Sequence[Codes], fold_C: Codes, seed: int, only: Sequence[int] = ()
) -> list[Codes]:
    """(C,) each: the class told of every observation by a classifier fitted to the other folds.

    Principal components too are of the other folds alone.

    Args:
        x_CG: values.
        targets: codes of classes (C,), -1 where unknown.
        fold_C: from `folds`; -1 is neither learnt from nor told.
        seed: of the components.
        only: for each target how many leading components it is told from; all when left out.

    Returns:
        -1 where nothing was told, since the class does not occur in the other folds.
    """
    told = [np.full(len(fold_C), -1, dtype=np.int64) for _ in targets]
    for fold in np.unique(fold_C[fold_C >= 0]):
        test, train = fold_C == fold, (fold_C >= 0) & (fold_C != fold)
        if train.sum() < 2:
            continue
        axes = principal_axes(x_CG[train], seed=seed)
        for i, (own, class_C) in enumerate(zip(told, targets)):
            learnt = train & (class_C >= 0)
            if len(np.unique(class_C[learnt])) < 2:
                continue
            leading = axes.first(only[i]) if only else axes
            model = fit(leading, x_CG[learnt], class_C[learnt])
            asked = test & np.isin(class_C, model.classes_K)
            if asked.any():
                own[asked] = model.told(x_CG[asked])
    return told


def recall(class_C: Codes, told_C: Codes, group_C: Codes) -> Recall:
    """How many of each group's observations of each class were told right.

    Args:
        class_C: codes, -1 where unknown.
        told_C: from `held_out`; -1 where nothing was told.
        group_C: what was left out together.
    """
    asked = told_C >= 0
    groups, row = np.unique(group_C[asked], return_inverse=True)
    shape = (len(groups), int(class_C.max(initial=-1)) + 1)
    right_RK, asked_RK = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    np.add.at(asked_RK, (row, class_C[asked]), 1)
    np.add.at(right_RK, (row, class_C[asked]), told_C[asked] == class_C[asked])
    return Recall(right_RK, asked_RK)


def balanced_accuracy(share_RK: F64) -> float:
    """Mean over classes of the mean recall over groups; NaN where a class was told nowhere.

    Every donor and every class weighs the same, however many cells it has.
    """
    known = np.isfinite(share_RK)
    if share_RK.size == 0 or not known.any(axis=0).all():
        return float("nan")
    sums = np.where(known, share_RK, 0.0).sum(axis=0)
    return float((sums / known.sum(axis=0)).mean())


def measured(statistic: Callable[..., float], *tables: Recall) -> Measured:
    """A statistic of the shares in some tables of the same groups, with its 95 % interval.

    Over the groups where there are four or more. Of two or three Student's t knows nothing
    (12.7 standard errors): there the interval holds each group's own, whose error is binomial. It
    is then one of these donors, and not of donors at large.
    """
    shares = [table.share for table in tables]
    value = statistic(*shares)
    groups = len(shares[0])
    if groups >= _GROUPS:
        without = left_out(np.arange(groups, dtype=np.int64))
        return Measured(
            value, jackknife(value, [statistic(*(x[r] for x in shares)) for r in without])
        )
    if groups < 2:
        return Measured(value)
    own = np.array([[statistic(*draw) for draw in _drawn(tables, [g])] for g in range(groups)])
    if not np.isfinite(own).all():
        return Measured(value)
    low, high = np.quantile(own, [0.025, 0.975], axis=1)
    return Measured(value, (float(low.min()), float(high.max())))


def _drawn(tables: Sequence[Recall], rows: list[int]) -> list[list[F64]]:
    """The shares of some groups, drawn anew from binomials 200 times."""
    random = np.random.default_rng(29)

    def draw(right_RK: Codes, asked_RK: Codes) -> F64:
        chance = (right_RK + 0.5) / (asked_RK + 1)
        return Recall(random.binomial(asked_RK, chance), asked_RK).share

    return [[draw(t.right[rows], t.asked[rows]) for t in tables] for _ in range(_DRAWS)]
