"""Labels that a cell's neighbours speak against: training takes them for unknown.

After the edited nearest neighbour rule (Wilson 1972, IEEE Trans. Syst. Man Cybern. 2, 408), with
care for kinds that are rare or that counts do not tell. A network that is trained long enough
learns wrong labels by heart, so that they have to be found before, by counts alone.

Shapes: S observations, N of them labelled, K neighbours, T labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from levelseq.cohort.loader import GeneCounts
from levelseq.models.cell_mixing import NEIGHBOURS, similar_cells
from levelseq.normalize.compiled import blocks

__all__ = ["trusted_labels"]

Ints = NDArray[np.int64]

MOST_ALIKE = 1
LEAST_AGREED = 6
FEWEST = 0.05
"""Up to a thirtieth of right labels look doubtful. Where no more do all stay: as few wrong ones do
little harm."""
MOST_OF_A_KIND, MOST_TO_ONE = 1 / 3, 0.75
"""Of a kind that counts do not tell from another, more labels look doubtful, and speak for that."""


def trusted_labels(label_S: Ints, counts: GeneCounts, path_S: Ints, seed: int) -> Ints:
    """(S,) the labels without those that neighbours speak against.

    A label is doubtful when at most one of the ten labelled cells most like its cell has it too and
    six or more of them share another. `similar_cells` finds them, on the same path through the
    batch tree; a path with ten labels or fewer keeps them. All doubtful labels stay
    where they are fewer than a twentieth; and those of a kind stay of which a third or more are
    doubtful, three quarters of these for one other kind: that is no error, but a difference that
    counts do not show.

    Args:
        label_S: numbers of labels, -1 where unknown.
        counts: of the cohort's variable genes.
        path_S: number of each observation's path.
        seed: see `similar_cells`.
    """
    known = np.flatnonzero(label_S >= 0)
    enough_S = np.bincount(path_S[known], minlength=int(path_S.max()) + 1)[path_S] > NEIGHBOURS
    asked = known[enough_S[known]]
    if len(asked) == 0:
        return label_S
    near_NK = label_S[similar_cells(counts, path_S, asked, seed).of_SK[asked]]
    alike_N, agreed_N, other_N = _votes(near_NK, label_S[asked])
    doubtful_N = (alike_N <= MOST_ALIKE) & (agreed_N >= LEAST_AGREED)
    if doubtful_N.sum() < FEWEST * len(known):
        return label_S
    doubtful_N &= ~_untold(label_S[asked], other_N, doubtful_N)[label_S[asked]]
    out = label_S.copy()
    out[asked[doubtful_N]] = -1
    return out


def _votes(near_NK: Ints, own_N: Ints) -> tuple[Ints, Ints, Ints]:
    """(N,) each: neighbours with a cell's own label, those with the commonest, and that label."""
    agreed_N, other_N = np.empty_like(own_N), np.empty_like(own_N)
    for rows in blocks(len(near_NK), 1 << 16):
        near = near_NK[rows]
        same = (near[:, :, None] == near[:, None, :]).sum(axis=2)
        first = same.argmax(axis=1)[:, None]
        agreed_N[rows] = np.take_along_axis(same, first, axis=1)[:, 0]
        other_N[rows] = np.take_along_axis(near, first, axis=1)[:, 0]
    return (near_NK == own_N[:, None]).sum(axis=1), agreed_N, other_N


def _untold(own_N: Ints, other_N: Ints, doubtful_N: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(T,) whether a kind is one that counts do not tell from another."""
    n = int(max(own_N.max(), other_N.max())) + 1
    pairs_TT = np.zeros((n, n), dtype=np.int64)
    np.add.at(pairs_TT, (own_N[doubtful_N], other_N[doubtful_N]), 1)
    doubtful_T = pairs_TT.sum(axis=1)
    many = doubtful_T >= MOST_OF_A_KIND * np.bincount(own_N, minlength=n)
    untold_T: NDArray[np.bool_] = many & (pairs_TT.max(axis=1) >= MOST_TO_ONE * doubtful_T)
    return untold_T
