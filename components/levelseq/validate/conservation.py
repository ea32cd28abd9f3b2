"""Conservation: does the biology still stand after levelling? No labels needed.

Within one batch there is nothing to level, so an observation's neighbours after levelling should
have been near it before. `contrast` measures how near: 1 if they are its own neighbours of
before, 0 if they are anybody of its batch. Unlike the share of equal neighbours it does not fall
when equal cells trade places, and unlike a rank it sees how far apart two groups were.

Two things in the embedding of before need not be kept. One is noise in the counts. So each molecule
is dealt to one of two halves, which share no noise, and "before" is either half, embedded alone.
The yardstick is what the halves keep of each other: `kept` = contrast of the levelled embedding /
contrast of the other half, at most 1. (Half the counts beside all of them are no such yardstick:
they have half their noise in common, and equal cells of few counts seem to lose what never was.)
The other is sequencing depth: single cells of one kind lie in the order of their libraries, and
models of counts take that out. So the contrast is taken in the embedding as it is and in the same
less what follows depth, and the larger share counts. (Depth must not be taken out of a few deep
samples: with seventeen in a batch a quarter of the neighbourhoods goes with it.)

Measured on five sets (pbmc, kang, pancreas, lung lines, RNA mixtures), overall and in the weakest
group: a conditional VAE .83-.98, .72-.91; cells shuffled within their type .55-.77, .33-.63; the
two largest types merged .79-.85, .55-.61; noise of as large an sd on top .39-.49, .25-.37; what a
network that knows but the labels leaves .57-.81, .34-.69. The bounds, .82 and .7, lie between.

Shapes: C cells (observations), D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances

from levelseq.validate.gates import Gate, Limits, judge, not_evaluated
from levelseq.validate.neighbours import nearest

__all__ = [
    "Kept",
    "Neighbourhoods",
    "Unintegrated",
    "bio_gate",
    "contrast",
    "groups",
    "kept",
    "kept_gates",
    "without_depth",
]

F64 = NDArray[np.float64]

NEIGHBOURS = 15
_LEAST_IN_BATCH = 12
_LEAST_IN_ALL = 30
_GROUP = 40
_LEAST_IN_GROUP = 30
_MOST_GROUPS = 15
# Below it the halves agree on too little to hold anything against it.
_LEAST_AGREED = 0.1
_LEAST_OF_GROUP = 0.7


class Kept(NamedTuple):
    """Neighbourhoods kept, 0 to 1: over all observations, and in the group that keeps least."""

    overall: float
    weakest: float
    weakest_size: int


def without_depth(x_CD: NDArray[Any], library_C: NDArray[Any], batch_C: NDArray[Any]) -> F64:
    """(C, D): an embedding less what follows the log of the library within each batch.

    Args:
        x_CD: the embedding.
        library_C: counts of each observation.
        batch_C: batch of each observation.
    """
    out = np.array(x_CD, dtype=np.float64)
    depth = np.log(np.maximum(np.asarray(library_C, dtype=np.float64), 1.0))
    for name in np.unique(batch_C):
        rows = batch_C == name
        own = depth[rows] - depth[rows].mean()
        square = float(own @ own)
        if square > 0:
            out[rows] -= np.outer(own, own @ out[rows] / square)
    return out


def contrast(before_CD: NDArray[Any], after_CD: NDArray[Any], batch_C: NDArray[Any]) -> F64:
    """(C,): how near, before, an observation's neighbours after levelling were; NaN if unknown.

    1 - (distance to them - distance to its own neighbours) / (distance to all - to its own), in
    the embedding of before and within its batch. Batches of fewer than 12 are left out.
    """
    out = np.full(len(before_CD), np.nan)
    for rows in _batches(batch_C):
        k = min(NEIGHBOURS, len(rows) // 4)
        u, found = np.asarray(before_CD[rows], dtype=np.float64), nearest(after_CD[rows], k)
        distance = pairwise_distances(u)
        everybody = distance.sum(axis=1) / (len(rows) - 1)
        own = np.sort(distance, axis=1)[:, 1 : k + 1].mean(axis=1)
        theirs = np.take_along_axis(distance, found.indices, axis=1).mean(axis=1)
        room = everybody - own
        out[rows] = np.where(room > 1e-12, (everybody - theirs) / np.maximum(room, 1e-12), np.nan)
    return out


def groups(before_CD: NDArray[Any], batch_C: NDArray[Any]) -> NDArray[np.int64]:
    """(C,): number of each observation's group, k-means within its batch; -1 if too small."""
    out = np.full(len(before_CD), -1, dtype=np.int64)
    for rows in _batches(batch_C):
        count = min(_MOST_GROUPS, len(rows) // _GROUP)
        if count < 2:
            continue
        found = KMeans(count, n_init=3, random_state=0).fit_predict(before_CD[rows])
        size = np.bincount(found, minlength=count)
        out[rows] = np.where(size[found] >= _LEAST_IN_GROUP, found + out.max() + 1, -1)
    return out


def kept(contrast_2C: F64, yardstick_2C: F64, group_2C: NDArray[np.int64]) -> Kept:
    """What is kept, as a share of the yardstick; NaN where that is too little to tell.

    Each observation is there twice, once in each half.
    """
    known = np.isfinite(contrast_2C) & np.isfinite(yardstick_2C)
    if known.sum() < 2 * _LEAST_IN_ALL:
        return Kept(float("nan"), float("nan"), 0)
    shares = []
    for group in np.unique(group_2C[known & (group_2C >= 0)]):
        rows = known & (group_2C == group)
        share = _share(contrast_2C[rows], yardstick_2C[rows])
        if np.isfinite(share):
            shares.append((share, int(rows.sum()) // 2))
    weakest, size = min(shares, default=(float("nan"), 0))
    return Kept(_share(contrast_2C[known], yardstick_2C[known]), weakest, size)


class Unintegrated(NamedTuple):
    """An embedding (C, D) of molecules that nobody has levelled, and how many (C,) there are."""

    x_CD: NDArray[Any]
    library_C: NDArray[Any]


class Neighbourhoods:
    """The neighbourhoods that both halves of the counts agree on, to hold embeddings against.

    Args:
        whole: all molecules; it divides each batch in groups.
        halves: each molecule is in one of them.
        batch_C: batch of each observation.
    """

    def __init__(
        self, whole: Unintegrated, halves: tuple[Unintegrated, Unintegrated], batch_C: NDArray[Any]
    ) -> None:
        self._batch = batch_C
        plain = [each.x_CD for each in (whole, *halves)]
        even = [without_depth(*each, batch_C) for each in (whole, *halves)]
        self._references = [
            _Reference.of(all_CD, one_CD, other_CD, batch_C)
            for all_CD, one_CD, other_CD in (plain, even)
        ]

    def kept_by(self, after_CD: NDArray[Any]) -> Kept:
        """What an embedding keeps, with depth or without it, whichever is more."""
        found = [each.kept_by(after_CD, self._batch) for each in self._references]
        return max(found, key=lambda each: np.nan_to_num(each.overall, nan=-1.0))


class _Reference(NamedTuple):
    """Both halves below each other: what each keeps of the other, and the groups, in both alike."""

    x_2CD: list[NDArray[Any]]
    yardstick_2C: F64
    group_2C: NDArray[np.int64]

    @classmethod
    def of(
        cls, whole: NDArray[Any], one: NDArray[Any], other: NDArray[Any], batch_C: NDArray[Any]
    ) -> _Reference:
        agreed = [contrast(one, other, batch_C), contrast(other, one, batch_C)]
        return cls([one, other], np.concatenate(agreed), np.tile(groups(whole, batch_C), 2))

    def kept_by(self, after_CD: NDArray[Any], batch_C: NDArray[Any]) -> Kept:
        found = np.concatenate([contrast(x, after_CD, batch_C) for x in self.x_2CD])
        return kept(found, self.yardstick_2C, self.group_2C)


def kept_gates(found: Kept, least: float) -> list[Gate]:
    """`conservation.neighbours_kept` and `conservation.weakest_group`."""
    names = ("conservation.neighbours_kept", "conservation.weakest_group")
    if not np.isfinite(found.overall):
        reason = (
            f"Batches are too small, or their counts too few, to hold neighbourhoods:"
            f" {_LEAST_IN_BATCH} observations in a batch and {_LEAST_IN_ALL} in all are needed,"
            f" on which two halves of the counts agree."
        )
        return [not_evaluated(name, reason) for name in names]
    overall = judge(
        names[0],
        found.overall,
        Limits(((1 + least) / 2, None), (least, None)),
        f"Of the neighbourhoods within batches that two halves of the counts agree on,"
        f" {found.overall:.0%} is kept.",
    )
    if not np.isfinite(found.weakest):
        return [
            overall,
            not_evaluated(names[1], "No batch is large enough to be divided in groups."),
        ]
    reason = (
        f"The group of cells that fares worst ({found.weakest_size} cells of one batch) keeps"
        f" {found.weakest:.0%} of its neighbourhoods."
    )
    weakest = judge(names[1], found.weakest, Limits((0.75, None), (_LEAST_OF_GROUP, None)), reason)
    return [overall, weakest]


def bio_gate(after: float, before: float, loss: float) -> Gate:
    """`conservation.bio`: scib-metrics' bio conservation beside the unintegrated embedding's."""
    reason = f"Labels stand apart with a biology score of {after:.3f}, {before:.3f} unintegrated."
    limits = Limits((-0.4 * loss, None), (-loss, None))
    return judge("conservation.bio", after - before, limits, reason)


def _share(contrast_C: F64, yardstick_C: F64) -> float:
    own, most = float(contrast_C.mean()), float(yardstick_C.mean())
    return float(np.clip(own / most, 0.0, 1.0)) if most > _LEAST_AGREED else float("nan")


def _batches(batch_C: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    for name in np.unique(batch_C):
        rows = np.flatnonzero(batch_C == name)
        if len(rows) >= _LEAST_IN_BATCH:
            yield rows
