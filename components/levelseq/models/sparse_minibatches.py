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

from levelseq.models.augmentation import Augmentation
from levelseq.models.augmentation_kernels import hide_genes, other_styles
from levelseq.models.binomial_kernels import thinned
from levelseq.models.cell_mixing import mixed
from levelseq.models.random_words import next_word, stream
from levelseq.normalize.compiled import kernel

__all__ = ["ONLY_THINNED", "Paths", "SparseMinibatch", "drawn"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

LEAST_SHARE = 32768
"""Of 65,536 counts, so many are kept at least when a cell is thinned."""


ONLY_THINNED = Augmentation()


class ByGene(NamedTuple):
    """Counts in the order of their genes, and of cells for each gene.

    Attributes:
        starts_G: where each gene's counts start; genes after the last that has a count lack.
        cell_N: cells.
        place_N: places of the counts in the order of cells.
    """

    starts_G: I64
    cell_N: I32
    place_N: I32


class SparseMinibatch(NamedTuple):
    """What the network is shown of B cells, without the zeros.

    Attributes:
        starts_B: (B + 1,) where each cell's counts start.
        gene_N: genes.
        count_N: counts.
        shown_N: counts over size factors, as the encoder sees them.
        library_B: the sum of each cell's counts.
        by_gene: the same counts in the order of their genes.
        place_B: the number of each cell's path.
        style_B: the number of the path whose effects the encoder's hidden layer gets.
        node_PL: the paths, a node for each level, -1 where unknown.
        label_B: numbers of labels, -1 where unknown; None: labels are not used.
    """

    starts_B: I64
    gene_N: I32
    count_N: F32
    shown_N: F32
    library_B: F32
    by_gene: ByGene
    place_B: I64
    style_B: I64
    node_PL: Tensor
    label_B: Tensor | None = None


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
    drawn_by: tuple[int, int] | None,
    augmentation: Augmentation = ONLY_THINNED,
) -> SparseMinibatch:
    """A minibatch of some observations.

    Args:
        arrays: counts, genes and starts of all observations, as in CSR.
        size_factor_S: of all observations.
        paths: of all observations.
        observations: numbers of those drawn.
        drawn_by: seed and step that decide what is changed at random; None: nothing is.
        augmentation: what may be changed.
    """
    place_B, node_PL = paths.of(observations)
    style_B, rows = place_B, observations
    if drawn_by is not None and augmentation.partners is not None:
        partners = augmentation.partners
        arrays, size_factor_S = mixed(arrays, size_factor_S, observations, partners, drawn_by)
        rows = np.arange(len(observations))
    if drawn_by is not None and augmentation.style_swap:
        style_B = other_styles(place_B, len(node_PL), *drawn_by)
    whole = drawn_by is None
    terms = augmentation.thinning and not whole, augmentation.gene_drop and not whole
    found = _draw(arrays, size_factor_S, rows, terms, *(drawn_by or (0, 0)))
    by_gene = ByGene(*_by_gene(*found[:2]))
    return SparseMinibatch(*found, by_gene, place_B, style_B, node_PL)


@kernel
def _draw(
    arrays: Any, size_factor_S: Any, rows: I64, terms: tuple[bool, bool], seed: int, step: int
) -> tuple[I64, I32, F32, F32, F32]:
    """Starts, genes, counts, what is shown of them, and sums; one call, that holds no lock."""
    data, genes, starts_S = arrays
    starts_B = np.zeros(len(rows) + 1, np.int64)
    for b in range(len(rows)):
        starts_B[b + 1] = starts_B[b] + starts_S[rows[b] + 1] - starts_S[rows[b]]
    gene_N = np.empty(starts_B[-1], np.int32)
    count_N, shown_N = np.empty(starts_B[-1], np.float32), np.empty(starts_B[-1], np.float32)
    library_B = np.empty(len(rows), np.float32)
    for b in range(len(rows)):
        row, to = rows[b], starts_B[b]
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
        state = stream(seed, step, b)
        if terms[0]:
            threshold = LEAST_SHARE + int(next_word(state) & np.uint64(LEAST_SHARE - 1))
            inverse *= np.float32(65536.0 / threshold)
            thinned(count_N[to : to + n], threshold, next_word(~state), shown_N[to : to + n])
        if terms[1]:
            hide_genes(gene_N[to : to + n], shown_N[to : to + n], state)
        for i in range(n):
            shown_N[to + i] *= inverse
    return starts_B, gene_N, count_N, shown_N, library_B


@kernel
def _by_gene(starts_B: I64, gene_N: I32) -> tuple[I64, I32, I32]:
    """`ByGene` of counts in the order of their cells."""
    n_genes = gene_N.max() + 1 if len(gene_N) else 0
    starts_G = np.zeros(n_genes + 1, np.int64)
    for g in gene_N:
        starts_G[g + 1] += 1
    for g in range(n_genes):
        starts_G[g + 1] += starts_G[g]
    next_G = starts_G[:-1].copy()
    cell_N, place_N = np.empty(len(gene_N), np.int32), np.empty(len(gene_N), np.int32)
    for b in range(len(starts_B) - 1):
        for i in range(starts_B[b], starts_B[b + 1]):
            to = next_G[gene_N[i]]
            next_G[gene_N[i]] = to + 1
            cell_N[to], place_N[to] = b, i
    return starts_G, cell_N, place_N
