"""Agreement: do neighbours from other batches look like those of the same batch? No labels needed.

Mixing says that observations of several batches lie together, and conservation that each batch
kept its own neighbourhoods. Neither sees one batch's T cells laid upon another's B cells. So of
each observation the mean of its neighbours within its batch is held against the mean of those in
the other batches, both in the unintegrated embedding: up to one shift of the whole batch, which is
its batch effect, they are the same where like lies beside like. Means of neighbours carry little of
the single observations' noise, and no batch has to hold the same kinds as another for the shift to
be told, since it is the median over observations.

How far they can agree depends on the kinds that the batches have and on the counts. So what the
neighbours of the unintegrated embedding reach, which are there whether it mixes or not, is the
yardstick, of all observations and of each group within a batch.

Shapes: C cells (observations), D dimensions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from levelseq.validate.conservation import groups

__all__ = ["Agreement", "agreement"]

F64 = NDArray[np.float64]

_NEIGHBOURS = 15
_LEAST_IN_BATCH = 12
_LEAST_ELSEWHERE = 30


class Agreement(NamedTuple):
    """What levelling changed of the agreement, 0 where nothing, below where like lies by unlike.

    Attributes:
        overall: of the share of the variance between an observation's neighbourhoods in its batch
            that those in other batches have too.
        weakest: the same of the group within a batch that loses most.
    """

    overall: float
    weakest: float


def agreement(before_CD: NDArray[Any], after_CD: NDArray[Any], batch_C: NDArray[Any]) -> Agreement:
    """How like each other an observation's neighbours of both kinds are, less than before.

    Args:
        before_CD: the unintegrated embedding.
        after_CD: the levelled one, where neighbours are looked for.
        batch_C: batch of each observation.

    Returns:
        NaN where no batch has 12 observations and 30 in others beside it.
    """
    u = np.asarray(before_CD, dtype=np.float64)
    shares = [_shared(u, np.asarray(x, dtype=np.float64), batch_C) for x in (u, after_CD)]
    change = shares[1] - shares[0]
    known = np.isfinite(change)
    if not known.any():
        return Agreement(float("nan"), float("nan"))
    group = groups(before_CD, batch_C)
    by_group = [
        float(change[rows].mean())
        for number in np.unique(group[group >= 0])
        if (rows := known & (group == number)).any()
    ]
    return Agreement(float(change[known].mean()), min(by_group, default=float("nan")))


def _shared(u: F64, x_CD: F64, batch_C: NDArray[Any]) -> F64:
    """(C,): 1 less how far both neighbourhoods lie apart, by the variance between them."""
    apart, varied = np.full(len(u), np.nan), np.full(len(u), np.nan)
    for name in np.unique(batch_C):
        own, others = np.flatnonzero(batch_C == name), np.flatnonzero(batch_C != name)
        if len(own) < _LEAST_IN_BATCH or len(others) < _LEAST_ELSEWHERE:
            continue
        here = _means(u, x_CD, own, own)
        off = here - _means(u, x_CD, own, others)
        apart[own] = ((off - np.median(off, axis=0)) ** 2).sum(axis=1)
        varied[own] = ((here - here.mean(axis=0)) ** 2).sum(axis=1)
    known = np.isfinite(apart)
    scale = float(varied[known].mean()) if known.any() else 0.0
    return np.asarray(1 - apart / scale if scale > 0 else np.full(len(u), np.nan))


def _means(u: F64, x_CD: F64, own: NDArray[np.int64], others: NDArray[np.int64]) -> F64:
    """(own, D): where the neighbours that each has among others were before, on the mean."""
    itself = own is others
    k = min(_NEIGHBOURS, len(others) // 4)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x_CD[others])
    found = search.kneighbors(None if itself else x_CD[own], return_distance=False)
    return np.asarray(u[others][found].mean(axis=1))
