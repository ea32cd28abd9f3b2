"""Governance: which genes drive the batch that levelling removes, and the condition it keeps.

A classifier of the batch and one of the condition are fitted to the input, the embedding and the
levelled values, and asked about donors or batches that they have not seen. The condition is told
within batches, the batch within conditions and labels as far as they are known (the means of these
are taken out), so that neither classifier knows what is the other's. Both are linear: a gene's
Shapley values are exact.

Shapes: C cells (observations), G genes, D latent dimensions, K classes, R groups left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from levelseq.validate.drivers import SPACES, Drivers, centred, drivers
from levelseq.validate.held_out import (
    balanced_accuracy,
    folds,
    held_out,
    measured,
    recall,
)
from levelseq.validate.jackknife import UNMEASURED, Measured
from levelseq.validate.linear_classifier import COMPONENTS
from levelseq.validate.sample import Sample
from levelseq.validate.targets import (
    apart_of_batch,
    apart_of_condition,
    kinds,
    levels_of,
    told_apart,
    within_batches,
)

__all__ = ["Governed", "distance_kept", "govern"]

F64 = NDArray[np.float64]
Codes = NDArray[np.int64]

# Beyond this an accuracy rests on single observations.
_MOST_TOLD = 0.98
_FOLDS = {"batch": 3, "condition": 6}


@dataclass(frozen=True)
class Governed:
    """The classifiers of one target.

    Attributes:
        target: `batch` or `condition`.
        level, base: of a condition, what is told from what; empty for the batch.
        classes: how many are told apart.
        left_out: what the classifier has not seen: a column, or `sample`; empty if nothing could
            be left out, so that no accuracy is known.
        groups: how many of those there are.
        accuracy: space -> balanced accuracy with interval.
        small: the same of as many principal components of the input as the embedding has.
        kept: of a condition, `embedding` and `values` -> `distance_kept`, the embedding's beside
            `small`.
        drivers: the genes' parts.
    """

    target: str
    level: str
    base: str
    classes: int
    left_out: str
    groups: int
    drivers: Drivers
    accuracy: dict[str, Measured] = field(default_factory=dict)
    small: Measured = UNMEASURED
    kept: dict[str, Measured] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        """The balanced accuracy of guessing."""
        return 1 / self.classes

    @property
    def told(self) -> bool:
        """Whether the input tells the classes beyond chance; taken for granted where unknown."""
        if not self.left_out:
            return True
        interval = self.accuracy["input"].interval
        return interval is not None and interval[0] > self.chance


def govern(sample: Sample, seed: int) -> list[Governed]:
    """The batch's classifiers, then those of each level of the condition against the usual one.

    Nothing for a target with one value, or that no batch tells from another.
    """
    found = []
    apart = apart_of_batch(sample)
    batch = told_apart(np.where(apart[0] < 0, -1, sample.batch_C))
    if batch is not None:
        found.append(_governed(sample, "batch", ("", ""), batch, apart, seed))
    for level, base in levels_of(sample):
        within = within_batches(sample, level, base)
        apart = apart_of_condition(sample, within)
        class_C = told_apart(np.where(apart[0] < 0, -1, within))
        if class_C is not None:
            found.append(_governed(sample, "condition", (level, base), class_C, apart, seed))
    return found


def _governed(
    sample: Sample,
    target: str,
    named: tuple[str, str],
    class_C: Codes,
    apart: tuple[Codes, str],
    seed: int,
) -> Governed:
    rows = class_C >= 0
    class_C, group_C = class_C[rows], apart[0][rows]
    stratum_C = (kinds(sample) if target == "batch" else sample.batch_C)[rows]
    spaces = [x[rows] for x in (sample.input_CG, sample.level_CD, sample.values_CG)]
    parts = drivers(spaces[0], spaces[1], spaces[2], class_C, stratum_C, seed)
    classes, groups = int(class_C.max()) + 1, len(np.unique(group_C))
    found = Governed(target, *named, classes, "", 0, parts)
    if groups < 2 or not apart[1]:
        return found
    fold_C = folds(group_C, class_C, _FOLDS[target])
    inside = [centred(x, stratum_C) for x in spaces]
    small = inside[1].shape[1]
    told = held_out(inside[0], [class_C, class_C], fold_C, seed, [COMPONENTS, small])
    told += [held_out(x, [class_C], fold_C, seed)[0] for x in inside[1:]]
    whole, leading, embedding, values = (recall(class_C, each, group_C) for each in told)
    accuracy = [measured(balanced_accuracy, each) for each in (whole, embedding, values)]
    return replace(
        found,
        left_out=apart[1],
        groups=groups,
        accuracy=dict(zip(SPACES, accuracy)),
        small=measured(balanced_accuracy, leading),
        kept={
            "embedding": measured(distance_kept, leading, embedding),
            "values": measured(distance_kept, whole, values),
        }
        if target == "condition"
        else {},
    )


def distance_kept(before_RK: F64, after_RK: F64) -> float:
    """How far apart two classes lie after levelling, as a share of before; from shares told right.

    Two bells that lie d standard deviations apart are told with an accuracy of Phi(d / 2) (d' of
    signal detection, Green & Swets 1966). Accuracy itself saturates: with half of the distance
    gone, of 98 % still 85 % are told.
    """
    found = [balanced_accuracy(x) for x in (before_RK, after_RK)]
    before, after = norm.ppf(np.clip(found, 1 - _MOST_TOLD, _MOST_TOLD))
    return float(after / before) if before > 0 else float("nan")
