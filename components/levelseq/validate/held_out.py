"""Predictions of observations whose donor or batch the classifier has not seen.

Shapes: C cells (observations), G genes, R groups (donors, batches, sites), K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.jackknife import Measured, jackknife, left_out
from levelseq.validate.linear_classifier import fit, principal_axes

__all__ = ["Recall", "balanced_accuracy", "folds", "held_out", "measured", "recall"]

F64 = NDArray[np.float64]
Codes = NDArray[np.int64]
Recall = F64

_FOLDS = 6


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
    """(R, K): share of each group's observations of each class told right; NaN where none."""
    asked = told_C >= 0
    groups, row = np.unique(group_C[asked], return_inverse=True)
    classes = int(class_C.max(initial=-1)) + 1
    shape = (len(groups), classes)
    right, all_of = np.zeros(shape), np.zeros(shape)
    np.add.at(all_of, (row, class_C[asked]), 1)
    np.add.at(right, (row, class_C[asked]), told_C[asked] == class_C[asked])
    return np.where(all_of > 0, right / np.maximum(all_of, 1), np.nan)


def balanced_accuracy(recall_RK: Recall) -> float:
    """Mean over classes of the mean recall over groups; NaN where a class was told nowhere.

    Every donor and every class weighs the same, however many cells it has.
    """
    known = np.isfinite(recall_RK)
    if recall_RK.size == 0 or not known.any(axis=0).all():
        return float("nan")
    sums = np.where(known, recall_RK, 0.0).sum(axis=0)
    return float((sums / known.sum(axis=0)).mean())


def measured(statistic: Callable[..., float], *tables: Recall) -> Measured:
    """A statistic of some tables of the same groups, with its interval over the groups."""
    value = statistic(*tables)
    rows = left_out(np.arange(len(tables[0]), dtype=np.int64))
    return Measured(
        value, jackknife(value, [statistic(*(table[kept] for table in tables)) for kept in rows])
    )
