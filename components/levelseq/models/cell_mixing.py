"""Cells mixed with neighbours of their own batch: new cells of the same kind, whose counts are
counts.

A mixed cell holds each of a cell's counts with probability w and each of its neighbour's with
1 - w, as if a library had been made of both (Zhang et al. 2018 mix images; here binomial draws keep
whole numbers and their noise). It is encoded and decoded as a cell. Shapes: S observations, B of a
minibatch, N counts that are not zero, G genes, K neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from levelseq.cohort.joint_counts import JointCounts
from levelseq.cohort.loader import GeneCounts
from levelseq.models.anchors import Anchors
from levelseq.models.augmentation import Partners
from levelseq.models.binomial_kernels import thinned
from levelseq.models.random_words import next_word, stream
from levelseq.normalize.compiled import blocks, kernel
from levelseq.validate.neighbours import nearest

__all__ = ["mixed", "similar_cells"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

NEIGHBOURS = 10
DIMENSIONS = 20
BLOCK = 4096
_HALF = 32768
_ALL = 65536.0
_MIXED = np.uint64(0x8EBC6AF09C88C6E3)
_ONE, _16, _32 = np.uint64(1), np.uint64(16), np.uint64(32)


def similar_cells(
    counts: GeneCounts | JointCounts, path_S: I64, fitted: I64, seed: int
) -> Partners:
    """The cells most like each one on its own path through the batch tree.

    Cells that are not fitted are their own neighbours, and nobody else's: nothing of what is held
    out reaches training.

    Likeness is nearness in principal components of log counts. It is looked for among at most 4,096
    cells at a time, drawn at random, so that time grows with cells and memory does not. A cell that
    is alone is its own neighbour.

    Args:
        counts: of the cohort's variable genes.
        path_S: number of each observation's path.
        fitted: numbers of the observations that are trained on.
        seed: of the sample that the components are fitted to, and of the draw.
    """
    components = PCA(
        min(DIMENSIONS, *(size - 1 for size in (min(len(fitted), Anchors.MOST), counts.shape[1]))),
        svd_solver="covariance_eigh",
    ).fit(_logs(counts, fitted[Anchors.choose(len(fitted), seed)]))
    similar_SK = np.repeat(np.arange(len(path_S))[:, None], NEIGHBOURS, axis=1)
    random = np.random.default_rng([seed, 5])
    for path in np.unique(path_S[fitted]):
        own = random.permutation(fitted[path_S[fitted] == path])
        for part in np.array_split(own, -(-len(own) // BLOCK)):
            if len(part) > 1:
                found = nearest(components.transform(_logs(counts, part)), NEIGHBOURS).indices
                # Of few cells, some are named more often.
                similar_SK[part] = part[found[:, np.arange(NEIGHBOURS) % found.shape[1]]]
    return Partners(similar_SK, counts.shape[1])


def _logs(counts: GeneCounts | JointCounts, cells: I64) -> F32:
    values = np.empty((len(cells), counts.shape[1]), dtype=np.float32)
    for part in blocks(len(cells), 1024):
        scale = counts.size_factors[cells[part], None]
        values[part] = np.log1p(counts.rows(cells[part]).toarray() / scale)
    return values


def mixed(
    arrays: tuple[F32, I32, I64],
    size_factor_S: F64,
    observations: I64,
    partners: Partners,
    drawn_by: tuple[int, int],
) -> tuple[tuple[F32, I32, I64], F64]:
    """Counts, genes and starts of a minibatch's cells, half of them mixed, and their size factors.

    A mixed cell's size factor is the one expected of its parts'.

    Args:
        arrays: counts, genes and starts of all observations, as in CSR.
        size_factor_S: of all observations.
        observations: numbers of those drawn.
        partners: of all observations.
        drawn_by: seed and step.
    """
    partner_B, share_B = _partners(observations, partners.of_SK, *drawn_by)
    starts_S = arrays[2]
    most = sum(int((starts_S[of + 1] - starts_S[of]).sum()) for of in (observations, partner_B))
    count_N, gene_N = np.empty(most, np.float32), np.empty(most, np.int32)
    starts_B, place_G = (
        np.zeros(len(observations) + 1, np.int64),
        np.full(partners.n_genes, -1, np.int64),
    )
    room = np.empty(most, np.float32)
    answer = count_N, gene_N, starts_B
    _mix(arrays, observations, partner_B, share_B, *drawn_by, place_G, room, answer)
    kept = share_B / _ALL
    factor_B = kept * size_factor_S[observations] + (1 - kept) * size_factor_S[partner_B]
    return (count_N[: starts_B[-1]], gene_N[: starts_B[-1]], starts_B), factor_B


@kernel
def _partners(observations: I64, partner_SK: I64, seed: int, step: int) -> tuple[I64, I64]:
    """Each one's partner, and of 65,536 how many of its own counts it keeps: all if not mixed."""
    partner_B, share_B = observations.copy(), np.full(len(observations), 65536)
    for b in range(len(observations)):
        word = next_word(stream(seed, step, b) ^ _MIXED)
        if word & _ONE:
            number = (word >> _32) % np.uint64(partner_SK.shape[1])
            partner_B[b] = partner_SK[observations[b], np.int64(number)]
            share_B[b] = _HALF + np.int64((word >> _16) & np.uint64(_HALF - 1))
    return partner_B, share_B


@kernel
def _mix(
    arrays: Any,
    observations: I64,
    partner_B: I64,
    share_B: I64,
    seed: int,
    step: int,
    place_G: I64,
    room: F32,
    answer: Any,
) -> None:
    data, genes, starts_S = arrays
    count_N, gene_N, starts_B = answer
    to = 0
    for b in range(len(observations)):
        state = next_word(stream(seed, step, b) ^ (_MIXED + _ONE))
        for part in range(2):
            row = partner_B[b] if part else observations[b]
            first, n = starts_S[row], starts_S[row + 1] - starts_S[row]
            share = 65536 - share_B[b] if part else share_B[b]
            if share == 0:
                break
            kept = room[:n]
            kept[:] = data[first : first + n]
            if share < 65536:
                thinned(data[first : first + n], share, next_word(state + np.uint64(part)), kept)
            for i in range(n):
                gene, count = genes[first + i], kept[i]
                if count > 0:
                    # A place before the cell's first is a gene that it does not have so far.
                    if place_G[gene] < starts_B[b]:
                        place_G[gene], gene_N[to], count_N[to] = to, gene, 0.0
                        to += 1
                    count_N[place_G[gene]] += count
        starts_B[b + 1] = to
