"""What a classifier tells apart, within what, and which donors or batches it must not have seen.

Shapes: C cells (observations).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.sample import Sample, codes

__all__ = [
    "apart_of_batch",
    "apart_of_condition",
    "kinds",
    "levels_of",
    "told_apart",
    "within_batches",
]

Codes = NDArray[np.int64]

_MOST_CLASSES = 12
_MOST_LEVELS = 4
_LEAST_OF_A_LEVEL = 5
# Each half of the observations is explained by the other.
_LEAST_OF_A_CLASS = 4


def kinds(sample: Sample) -> Codes:
    """(C,): condition and label together, as far as known: what a batch may hold more of."""
    known = [codes(sample.condition_C), sample.label_C]
    columns = [each for each in known if each is not None]
    if not columns:
        return np.zeros(len(sample.batch_C), dtype=np.int64)
    return _crossed(*columns)


def _crossed(*columns: Codes) -> Codes:
    """(C,) codes of what some columns say together."""
    found = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1]
    return np.asarray(found.ravel(), dtype=np.int64)


def told_apart(name_C: Codes) -> Codes | None:
    """(C,) classes of the largest names of four observations or more; -1 elsewhere."""
    names, sizes = np.unique(name_C[name_C >= 0], return_counts=True)
    largest = np.argsort(-sizes, kind="stable")[:_MOST_CLASSES]
    kept = np.sort(names[largest[sizes[largest] >= _LEAST_OF_A_CLASS]])
    if len(kept) < 2:
        return None
    found = np.searchsorted(kept, name_C).clip(0, len(kept) - 1)
    return np.asarray(np.where(kept[found] == name_C, found, -1), dtype=np.int64)


def apart_of_batch(sample: Sample) -> tuple[Codes, str]:
    """Groups to leave out of a batch's classifier: parts of a batch that are not one donor's cells.

    Donors where each batch has two; else donor and condition together, as one library each.
    """
    people = sample.people
    if people is not None and _several(people, sample.batch_C):
        return people, sample.person
    condition = codes(sample.condition_C)
    if condition is not None:
        donor = people if people is not None else np.zeros(len(sample.batch_C), dtype=np.int64)
        library = _crossed(donor, condition, sample.batch_C)
        if _several(library, sample.batch_C):
            return library, "donor and condition"
    return np.zeros(len(sample.batch_C), dtype=np.int64), ""


def _several(group_C: Codes, batch_C: Codes) -> bool:
    return all(len(np.unique(group_C[batch_C == batch])) > 1 for batch in np.unique(batch_C))


def levels_of(sample: Sample) -> list[tuple[str, str]]:
    """The most frequent levels of the condition, each with the most frequent of all."""
    if sample.condition_C is None:
        return []
    known = sample.condition_C[sample.condition_C != ""]
    names, sizes = np.unique(known, return_counts=True)
    ordered = [str(name) for name in names[np.argsort(-sizes, kind="stable")]]
    return [(level, ordered[0]) for level in ordered[1 : _MOST_LEVELS + 1]]


def within_batches(sample: Sample, level: str, base: str) -> Codes:
    """(C,) 1 for a level, 0 for the base, -1 for others and in batches that lack one of them."""
    condition = np.asarray(sample.condition_C)
    class_C = np.where(condition == level, 1, np.where(condition == base, 0, -1))
    least = 1 if sample.single else _LEAST_OF_A_LEVEL
    for batch in np.unique(sample.batch_C):
        rows = sample.batch_C == batch
        if min((class_C[rows] == k).sum() for k in (0, 1)) < least:
            class_C[rows] = -1
    return class_C.astype(np.int64)


def apart_of_condition(sample: Sample, class_C: Codes) -> tuple[Codes, str]:
    """Groups to leave out of a condition's classifier: donors, or batches; never cells."""
    people = sample.people
    if people is not None and len(np.unique(people[(class_C >= 0) & (people >= 0)])) > 1:
        return people, sample.person
    return sample.batch_C, sample.levels[-1] if sample.levels else ""
