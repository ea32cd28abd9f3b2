"""Labels that a cell's neighbours speak against: training takes them for unknown.

The edited nearest neighbour rule (Wilson 1972, IEEE Trans. Syst. Man Cybern. 2, 408), with care for
rare kinds: a cell keeps its label unless next to none of its neighbours has it and most of them
share another. A network that is trained long enough learns wrong labels by heart, so that they have
to be found before, by counts alone.

Shapes: S observations, K neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levelseq.cohort.loader import GeneCounts
from levelseq.models.cell_mixing import NEIGHBOURS, similar_cells
from levelseq.progress import notice

__all__ = ["trusted_labels"]

Ints = NDArray[np.int64]

MOST_ALIKE = 1
LEAST_AGREED = 6
FEWEST = 0.05
"""Of labels without errors up to a thirtieth are doubtful: kinds that were told by more than these
counts. They stay, and so do as few wrong ones, which do little harm."""


def trusted_labels(label_S: Ints, counts: GeneCounts, path_S: Ints, seed: int) -> Ints:
    """(S,) the labels without those that neighbours speak against.

    Neighbours are the ten labelled cells on the same path through the batch tree that are most like
    a cell. Where a path has no more than these, its labels stay; and where fewer than a twentieth
    of all labels are doubtful, all do.

    Args:
        label_S: numbers of labels, -1 where unknown.
        counts: of the cohort's variable genes.
        path_S: number of each observation's path.
        seed: see `similar_cells`.
    """
    known = np.flatnonzero(label_S >= 0)
    enough_S = np.bincount(path_S[known], minlength=int(path_S.max()) + 1)[path_S] > NEIGHBOURS
    known = known[enough_S[known]]
    if len(known) == 0:
        return label_S
    near_SK = label_S[similar_cells(counts, path_S, known, seed).of_SK[known]]
    votes = np.zeros((len(known), int(label_S.max()) + 1), dtype=np.int64)
    np.add.at(votes, (np.arange(len(known))[:, None], near_SK), 1)
    alike = votes[np.arange(len(known)), label_S[known]]
    doubtful = known[(alike <= MOST_ALIKE) & (votes.max(axis=1) >= LEAST_AGREED)]
    n_labels = int((label_S >= 0).sum())
    if len(doubtful) < FEWEST * n_labels:
        return label_S
    notice(
        "train",
        "labels that most of a cell's neighbours speak against are taken for unknown",
        labels=len(doubtful),
        of=n_labels,
    )
    out = label_S.copy()
    out[doubtful] = -1
    return out
