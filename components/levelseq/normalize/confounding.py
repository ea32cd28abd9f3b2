"""Which levels of a column can be compared within batches, and which columns say the same.

Two levels can be compared where a chain of batches links them: a batch that holds both, or one
that holds the first and a third which another batch links to the second. Levels that no chain
links differ in batch wherever they differ: batch and level are confounded between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Group",
    "dependent",
    "described",
    "groups",
    "listed",
    "named",
    "rank",
    "standardized",
    "within",
]

F64 = NDArray[np.float64]

_RANK_TOLERANCE = 1e-7
_MOST_NAMES = 3
_MOST_WORDS = 4


@dataclass(frozen=True)
class Group:
    """Levels that batches link to each other, and to no other level.

    Attributes:
        levels, batches: sorted.
        samples: numbers of the samples.
    """

    levels: tuple[str, ...]
    batches: tuple[str, ...]
    samples: tuple[int, ...]


def groups(level_S: Sequence[str], batch_S: Sequence[str]) -> list[Group]:
    """The groups of linked levels, in the order of their first level; one: all can be compared."""
    of_level: dict[str, set[str]] = {}
    of_batch: dict[str, set[str]] = {}
    for level, batch in zip(level_S, batch_S):
        of_level.setdefault(level, set()).add(batch)
        of_batch.setdefault(batch, set()).add(level)
    found = []
    left = set(of_level)
    while left:
        levels: set[str] = set()
        batches: set[str] = set()
        new = {min(left)}
        while new:
            levels |= new
            batches |= {batch for level in new for batch in of_level[level]}
            new = {level for batch in batches for level in of_batch[batch]} - levels
        left -= levels
        samples = tuple(i for i, level in enumerate(level_S) if level in levels)
        found.append(Group(tuple(sorted(levels)), tuple(sorted(batches)), samples))
    return found


def described(found: Sequence[Group], names: Sequence[str] | None = None) -> str:
    """Groups in words: which levels are in which batches, and how many samples."""
    parts = []
    for group in found[:_MOST_WORDS]:
        levels = listed([repr(level) for level in group.levels])
        verb = "is" if len(group.levels) == 1 else "are"
        samples = named(group.samples, names)
        parts.append(f"{levels} {verb} in {listed(group.batches)} ({samples})")
    return ", ".join(parts) + (", …" if len(found) > _MOST_WORDS else "")


def named(samples: Sequence[int], names: Sequence[str] | None) -> str:
    """How many samples, and which where they are few and have names."""
    count = f"{len(samples)} sample{'' if len(samples) == 1 else 's'}"
    if names is None or not 0 < len(samples) <= _MOST_NAMES:
        return count
    return f"{count} {' '.join(str(names[i]) for i in samples)}"


def listed(words: Iterable[str]) -> str:
    """The first four words, and a mark where there are more."""
    found = list(words)
    return " ".join(found[:_MOST_WORDS]) + (" …" if len(found) > _MOST_WORDS else "")


def within(z_SK: F64, codes: NDArray[np.int64]) -> F64:
    """Covariates less their batch's mean."""
    size_B = np.maximum(np.bincount(codes), 1)
    means = [(np.bincount(codes, weights=z_S) / size_B)[codes] for z_S in z_SK.T]
    return z_SK - np.stack(means, axis=1)


def standardized(z_SK: F64) -> F64:
    """Columns of mean 0 and variance 1."""
    return np.asarray((z_SK - z_SK.mean(axis=0)) / z_SK.std(axis=0))


def rank(z_SK: F64) -> int:
    """Rank of columns that were standardized before, so that rounding is not taken for rank."""
    return int(np.linalg.matrix_rank(z_SK, tol=_RANK_TOLERANCE * np.sqrt(len(z_SK))))


def dependent(z_SK: F64, owner_K: Sequence[str]) -> list[str]:
    """Names of the columns that are combinations of each other; none when the rank is full."""
    full = rank(z_SK)
    if full == z_SK.shape[1]:
        return []
    null_KN = np.linalg.eigh(z_SK.T @ z_SK)[1][:, : z_SK.shape[1] - full]
    part_K = np.abs(null_KN).max(axis=1) > _RANK_TOLERANCE**0.5
    return list(dict.fromkeys(name for name, part in zip(owner_K, part_K) if part))
