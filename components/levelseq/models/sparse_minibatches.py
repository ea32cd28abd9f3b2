"""A minibatch that stays sparse: what the network is trained on where there is no accelerator.

Shapes: S observations of a cohort, B of a minibatch, N their counts that are not zero, L levels of
the batch tree, P the distinct paths through it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from levelseq.models.binomial_kernels import thinned
from levelseq.models.random_words import next_word, stream
from levelseq.normalize.compiled import kernel

__all__ = ["Paths", "SparseMinibatch", "drawn"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

LEAST_SHARE = 32768
"""Of 65,536 counts, so many are kept at least when a cell is thinned."""


class SparseMinibatch(NamedTuple):
    """What the network is shown of B cells, without the zeros.

    Attributes:
        starts_B: (B + 1,) where each cell's counts start.
        gene_N: genes.
        count_N: counts.
        shown_N: counts over size factors, as the encoder sees them: thinned.
        library_B: the sum of each cell's counts.
        place_B: the number of each cell's path.
        node_PL: the paths, a node for each level, -1 where unknown.
    """

    starts_B: I64
    gene_N: I32
    count_N: F32
    shown_N: F32
    library_B: F32
    place_B: I64
    node_PL: Tensor


class Paths:
    """The distinct paths of a cohort's observations.

    Args:
        node_SL: each observation's nodes in the batch tree, -1 where unknown.
    """

    def __init__(self, node_SL: Tensor) -> None:
        distinct, place = torch.unique(node_SL, dim=0, return_inverse=True)
        self._distinct_PL = distinct
        self._place_S = place.numpy()

    def of(self, observations: I64) -> tuple[I64, Tensor]:
        """The number of each one's path among the paths of all of them, and those paths."""
        place_B = self._place_S[observations]
        here = np.flatnonzero(np.bincount(place_B))
        if len(here) == len(self._distinct_PL):
            return place_B, self._distinct_PL
        return np.searchsorted(here, place_B), self._distinct_PL[torch.from_numpy(here)]


def drawn(
    arrays: tuple[F32, I32, I64],
    size_factor_S: NDArray[np.float64],
    paths: Paths,
    observations: I64,
    thinned_by: tuple[int, int] | None,
) -> SparseMinibatch:
    """A minibatch of some observations.

    Args:
        arrays: counts, genes and starts of all observations, as in CSR.
        size_factor_S: of all observations.
        paths: of all observations.
        observations: numbers of those drawn.
        thinned_by: seed and step that decide which counts the encoder does not see; None: it sees
            all.
    """
    starts_S = arrays[2]
    n_B = starts_S[observations + 1] - starts_S[observations]
    starts_B = np.concatenate([np.zeros(1, np.int64), np.cumsum(n_B)])
    gene_N = np.empty(starts_B[-1], np.int32)
    count_N, shown_N = (np.empty(starts_B[-1], np.float32) for _ in range(2))
    library_B = np.empty(len(observations), np.float32)
    seed, step = thinned_by or (0, 0)
    answer = (gene_N, count_N, shown_N, library_B)
    whole = thinned_by is None
    _draw(arrays, size_factor_S, observations, starts_B, whole, seed, step, answer)
    place_B, node_PL = paths.of(observations)
    return SparseMinibatch(starts_B, gene_N, count_N, shown_N, library_B, place_B, node_PL)


@kernel
def _draw(
    arrays: Any,
    size_factor_S: Any,
    observations: I64,
    starts_B: I64,
    whole: bool,
    seed: int,
    step: int,
    answer: Any,
) -> None:
    data, genes, starts_S = arrays
    gene_N, count_N, shown_N, library_B = answer
    for b in range(len(observations)):
        row, to = observations[b], starts_B[b]
        first, n = starts_S[row], starts_B[b + 1] - to
        inverse = np.float32(1.0 / size_factor_S[row])
        library = 0.0
        for i in range(n):
            count = data[first + i]
            library += count
            gene_N[to + i] = genes[first + i]
            count_N[to + i] = count
            shown_N[to + i] = count
        library_B[b] = library
        if not whole:
            state = stream(seed, step, b)
            threshold = LEAST_SHARE + int(next_word(state) & np.uint64(LEAST_SHARE - 1))
            inverse *= np.float32(65536.0 / threshold)
            thinned(count_N[to : to + n], threshold, next_word(~state), shown_N[to : to + n])
        for i in range(n):
            shown_N[to + i] *= inverse
