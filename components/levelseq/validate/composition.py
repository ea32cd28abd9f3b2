"""Comparing cells of a kind with cells of that kind, so that another mix of kinds is no difference.

Shapes: C cells of one batch, A reference cells, P kinds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["FEWEST_OF_KIND", "kind_ranks", "matched_pairs", "shared_kinds"]

FEWEST_OF_KIND = 5


def shared_kinds(kind_C: Any, kind_A: Any) -> Any:
    """The kinds with 5 cells or more on both sides."""
    most = 1 + max(kind_C.max(initial=0), kind_A.max(initial=0))
    fewer = np.minimum(np.bincount(kind_C, minlength=most), np.bincount(kind_A, minlength=most))
    return np.flatnonzero(fewer >= FEWEST_OF_KIND)


def kind_ranks(x_C: Any, kind_C: Any, reference_A: Any, kind_A: Any) -> Any:
    """(N,): the share of reference cells of its own kind below each cell of the batch.

    Uniform between 0 and 1 for a batch whose kinds are as the reference's, whatever their shares;
    ties count by half. Only cells of kinds with 5 reference cells or more.
    """
    ranks = [np.zeros(0)]
    for p in np.flatnonzero(np.bincount(kind_A) >= FEWEST_OF_KIND):
        own, other = x_C[kind_C == p], np.sort(reference_A[kind_A == p])
        below, up_to = (np.searchsorted(other, own, side=side) for side in ("left", "right"))
        ranks.append((below + up_to + 1) / (2 * (len(other) + 1)))
    return np.concatenate(ranks)


def matched_pairs(kind_C: Any, kind_A: Any, most: int, random: np.random.Generator) -> Any:
    """Rows of the batch and of the reference, equally many of every kind, at most about `most`.

    Returns:
        Two arrays of the same length, kind by kind.
    """
    kinds = shared_kinds(kind_C, kind_A)
    fewer_P = np.array([min((kind_C == p).sum(), (kind_A == p).sum()) for p in kinds], dtype=int)
    share = min(1.0, most / max(fewer_P.sum(), 1))
    rows: tuple[list[Any], list[Any]] = ([], [])
    for p, fewer in zip(kinds, fewer_P):
        size = max(FEWEST_OF_KIND, int(share * fewer))
        for side, kind in zip(rows, (kind_C, kind_A)):
            side.append(random.permutation(np.flatnonzero(kind == p))[:size])
    empty = np.zeros(0, dtype=np.int64)
    return tuple(np.concatenate([empty, *side]) for side in rows)
