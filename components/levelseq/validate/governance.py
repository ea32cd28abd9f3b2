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

from levelseq.validate.held_out import (
    Recall,
    balanced_accuracy,
    folds,
    held_out,
    measured,
    recall,
)
from levelseq.validate.jackknife import Measured
from levelseq.validate.linear_classifier import COMPONENTS, fit, principal_axes
from levelseq.validate.sample import Sample, codes
from levelseq.validate.shapley import mean_absolute, toward_truth

__all__ = ["SPACES", "Drivers", "Governed", "govern"]

F64 = NDArray[np.float64]
Codes = NDArray[np.int64]

SPACES = ("input", "embedding", "values")
_FOLDS = {"batch": 3, "condition": 6}
_MOST_BATCHES = 12
_MOST_LEVELS = 4
_LEAST_OF_A_LEVEL = 5


@dataclass(frozen=True)
class Drivers:
    """What each gene adds to the classifiers of one target.

    Attributes:
        absolute: space -> (G,) mean absolute Shapley value of a classifier fitted there; of the
            embedding through the part of it that is linear in the genes.
        before, after: (G,) mean Shapley value toward the truth, of the input's classifier on the
            input and on the levelled values: what it finds of the target, and what is left of it.
        linear: share of the embedding's variance that is linear in the genes.
    """

    absolute: dict[str, F64]
    before: F64
    after: F64
    linear: float

    @property
    def removed(self) -> F64:
        """(G,): what levelling takes away of each gene's part; never below 0."""
        return np.maximum(self.before - self.after, 0.0)


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
        kept: `embedding` and `values` -> share of the input's accuracy above chance.
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
    small: Measured = Measured()
    kept: dict[str, Measured] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        """The balanced accuracy of guessing."""
        return 1 / self.classes


def govern(sample: Sample, seed: int) -> list[Governed]:
    """The batch's classifiers, then those of each level of the condition against the usual one.

    Nothing for a target with one value, or that no batch tells from another.
    """
    found = []
    batch = _batch(sample)
    if batch is not None:
        found.append(_governed(sample, "batch", ("", ""), batch, _apart_of_batch(sample), seed))
    for level, base in _levels(sample):
        class_C = _within(sample, level, base)
        if class_C is not None:
            named = (level, base)
            apart = _apart_of_condition(sample, class_C)
            found.append(_governed(sample, "condition", named, class_C, apart, seed))
    return found


def _governed(
    sample: Sample,
    target: str,
    named: tuple[str, str],
    class_C: Codes,
    apart: tuple[Codes, str],
    seed: int,
) -> Governed:
    rows = (class_C >= 0) & (apart[0] >= 0)
    class_C, group_C = class_C[rows], apart[0][rows]
    stratum_C = (_kinds(sample) if target == "batch" else sample.batch_C)[rows]
    spaces = [x[rows] for x in (sample.input_CG, sample.level_CD, sample.values_CG)]
    drivers = _drivers(*spaces, class_C, stratum_C, seed)
    classes, groups = int(class_C.max()) + 1, len(np.unique(group_C))
    found = Governed(target, *named, classes, "", 0, drivers)
    if groups < 2 or not apart[1]:
        return found
    fold_C = folds(group_C, class_C, _FOLDS[target])
    centred = [_centred(x, stratum_C) for x in spaces]
    small = centred[1].shape[1]
    told = held_out(centred[0], [class_C, class_C], fold_C, seed, [COMPONENTS, small])
    told += [held_out(x, [class_C], fold_C, seed)[0] for x in centred[1:]]
    whole, leading, embedding, values = (recall(class_C, each, group_C) for each in told)
    accuracy = [measured(balanced_accuracy, each) for each in (whole, embedding, values)]

    def kept(before: Recall, after: Recall) -> float:
        known = balanced_accuracy(before) - found.chance
        return (balanced_accuracy(after) - found.chance) / known if known > 0 else float("nan")

    return replace(
        found,
        left_out=apart[1],
        groups=groups,
        accuracy=dict(zip(SPACES, accuracy)),
        small=measured(balanced_accuracy, leading),
        kept={
            "embedding": measured(kept, leading, embedding),
            "values": measured(kept, whole, values),
        },
    )


def _drivers(
    input_CG: F64, level_CD: F64, values_CG: F64, class_C: Codes, stratum_C: Codes, seed: int
) -> Drivers:
    x, z, y = (_centred(each, stratum_C) for each in (input_CG, level_CD, values_CG))
    axes = principal_axes(x, seed=seed)
    own = fit(axes, x, class_C).weight_GK
    after = fit(principal_axes(y, seed=seed), y, class_C).weight_GK
    latent = fit(principal_axes(z), z, class_C).weight_GK
    scores = axes.scores(x)
    slopes = np.linalg.lstsq(scores, z, rcond=None)[0]
    linear = float((scores @ slopes).var(axis=0).sum() / max(z.var(axis=0).sum(), 1e-12))
    fitted = zip(SPACES, (x, x, y), (own, axes.axes_GD @ slopes @ latent, after))
    return Drivers(
        {name: mean_absolute(at, weight, at.mean(axis=0)) for name, at, weight in fitted},
        *_toward(x, input_CG, values_CG, class_C, stratum_C, seed),
        linear,
    )


def _toward(
    x_CG: F64, input_CG: F64, values_CG: F64, class_C: Codes, stratum_C: Codes, seed: int
) -> tuple[F64, F64]:
    """Mean Shapley values toward the truth, of the input and of the levelled values.

    Each half of the cells is explained by a classifier fitted to the other, so that what it has
    learnt of noise adds nothing.
    """
    half_C = _halves(class_C, stratum_C, seed)
    before, after = np.zeros(x_CG.shape[1]), np.zeros(x_CG.shape[1])
    for half in (0, 1):
        own, other = half_C == half, half_C != half
        weight_GK = fit(
            principal_axes(x_CG[other], seed=seed), x_CG[other], class_C[other]
        ).weight_GK
        before += toward_truth(*_sums(input_CG[own], class_C[own], stratum_C[own]), weight_GK) / 2
        after += toward_truth(*_sums(values_CG[own], class_C[own], stratum_C[own]), weight_GK) / 2
    return before, after


def _halves(class_C: Codes, stratum_C: Codes, seed: int) -> Codes:
    """(C,) 0 or 1, at random and even within each class of each stratum, and over the classes."""
    random = np.random.default_rng([seed, 19])
    order = random.permutation(len(class_C))
    order = order[np.lexsort((stratum_C[order], class_C[order]))]
    found = np.empty(len(class_C), dtype=np.int64)
    found[order] = np.arange(len(class_C)) % 2
    return found


def _sums(x_CG: F64, class_C: Codes, stratum_C: Codes) -> tuple[F64, Codes]:
    """(U, G) mean CPM of each class in each stratum as a share of the stratum's; classes (U,).

    The first term of a difference of logs. The mean of logs would hold how deep a batch was
    sequenced, which decides how many of its counts are 0.
    """
    keys, unit_C = np.unique(np.stack([stratum_C, class_C], axis=1), axis=0, return_inverse=True)
    unit_C = unit_C.ravel()
    cpm_CG = np.expm1(x_CG)
    means_UG = np.stack([cpm_CG[unit_C == unit].mean(axis=0) for unit in range(len(keys))])
    for stratum in np.unique(keys[:, 0]):
        own = keys[:, 0] == stratum
        middle_G = means_UG[own].mean(axis=0)
        means_UG[own] = np.where(middle_G > 0, means_UG[own] / np.maximum(middle_G, 1e-12) - 1, 0)
    return means_UG, keys[:, 1]


def _kinds(sample: Sample) -> Codes:
    """(C,) condition and label together, as far as they are known: what a batch may hold more of."""
    known = [codes(sample.condition_C), sample.label_C]
    columns = [each for each in known if each is not None]
    if not columns:
        return np.zeros(len(sample.batch_C), dtype=np.int64)
    found = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1]
    return np.asarray(found.ravel(), dtype=np.int64)


def _batch(sample: Sample) -> Codes | None:
    """(C,) classes of the largest batches; -1 elsewhere."""
    names, sizes = np.unique(sample.batch_C, return_counts=True)
    if len(names) < 2:
        return None
    largest = np.sort(names[np.argsort(-sizes, kind="stable")[:_MOST_BATCHES]])
    found = np.searchsorted(largest, sample.batch_C).clip(0, len(largest) - 1)
    return np.where(largest[found] == sample.batch_C, found, -1)


def _apart_of_batch(sample: Sample) -> tuple[Codes, str]:
    """Groups to leave out of a batch's classifier: parts of a batch that are not one donor's cells.

    Donors where each batch has two; else donor and condition together, as one library each.
    """
    people = sample.people_C
    if people is not None and _several(people, sample.batch_C):
        return people, "sample" if sample.donor_C is None else "donor"
    if sample.condition_C is not None:
        condition = codes(sample.condition_C)
        donor = people if people is not None else np.zeros(len(sample.batch_C), dtype=np.int64)
        keys = np.stack([donor, condition, sample.batch_C], axis=1)
        library = np.unique(keys, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
        if _several(library, sample.batch_C):
            return library, "donor and condition"
    return np.zeros(len(sample.batch_C), dtype=np.int64), ""


def _several(group_C: Codes, batch_C: Codes) -> bool:
    return all(len(np.unique(group_C[batch_C == batch])) > 1 for batch in np.unique(batch_C))


def _levels(sample: Sample) -> list[tuple[str, str]]:
    """The most frequent levels of the condition, each with the most frequent of all."""
    if sample.condition_C is None:
        return []
    known = sample.condition_C[sample.condition_C != ""]
    names, sizes = np.unique(known, return_counts=True)
    ordered = [str(name) for name in names[np.argsort(-sizes, kind="stable")]]
    return [(level, ordered[0]) for level in ordered[1 : _MOST_LEVELS + 1]]


def _within(sample: Sample, level: str, base: str) -> Codes | None:
    """(C,) 1 for a level, 0 for the base, -1 for others and in batches that lack one of them."""
    condition = np.asarray(sample.condition_C)
    class_C = np.where(condition == level, 1, np.where(condition == base, 0, -1))
    least = 1 if sample.single else _LEAST_OF_A_LEVEL
    for batch in np.unique(sample.batch_C):
        rows = sample.batch_C == batch
        if min((class_C[rows] == k).sum() for k in (0, 1)) < least:
            class_C[rows] = -1
    return class_C.astype(np.int64) if (class_C >= 0).any() else None


def _apart_of_condition(sample: Sample, class_C: Codes) -> tuple[Codes, str]:
    """Groups to leave out of a condition's classifier: donors, or batches; never cells."""
    people = sample.people_C
    if people is not None and len(np.unique(people[(class_C >= 0) & (people >= 0)])) > 1:
        return people, "sample" if sample.donor_C is None else "donor"
    return sample.batch_C, sample.levels[-1] if sample.levels else ""


def _centred(x_CG: F64, batch_C: Codes) -> F64:
    """Values less the mean of their batch."""
    out = np.array(x_CG)
    for batch in np.unique(batch_C):
        rows = batch_C == batch
        out[rows] -= out[rows].mean(axis=0)
    return out
