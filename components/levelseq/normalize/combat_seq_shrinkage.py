"""ComBat-seq's shrinkage: a gene's batch shift and dispersion as a mean over other genes'.

As sva's `monte_carlo_int_NB`: other genes' parameters weigh by the likelihood that they give to
the gene's counts in the batch. The genes are drawn as R draws them. Each gene is compared with
others sample by sample, so the work is genes x drawn genes x samples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel
from levelseq.normalize.negative_binomial_tail import SMALL, log_probability, size_terms
from levelseq.normalize.r_random import RRandom

__all__ = ["drawn_genes", "shrink_block"]

F64 = NDArray[np.float64]
Int = NDArray[np.int64]

_LEAST_LOG = -746.0
"""Below, R's product of likelihoods is zero."""


def drawn_genes(n_genes: int, n_drawn: int, n_batches: int, seed: int) -> Int:
    """(B, G, N): for each batch and gene the places of N others, as R after `set.seed(seed)`."""
    places_PN = np.empty((n_batches * n_genes, n_drawn), dtype=np.int64)
    stream, words, done = _Stream(seed), np.empty(0, dtype=np.uint64), 0
    urn = np.arange(n_genes - 1)
    while done < len(places_PN) and n_drawn:
        words = np.concatenate(
            [words, stream.words(4 * n_drawn * min(4096, len(places_PN)) + 4096)]
        )
        drawn, used = _draw(words, done, n_genes, urn, places_PN)
        done, words = done + drawn, words[used:]
    return places_PN.reshape(n_batches, n_genes, n_drawn)


class _Stream(RRandom):
    """R's stream as the words that its draws are made of."""

    def words(self, n: int) -> NDArray[np.uint64]:
        """The next numbers of 32 bits."""
        return np.asarray(self._bits.random_raw(n), dtype=np.uint64)


@kernel
def _draw(
    words: NDArray[np.uint64], first: int, n_genes: int, urn: Int, places_PN: Int
) -> tuple[int, int]:
    """Draw as many rows as the words suffice for; gives rows and words used up.

    As R's `sample.int`: by rejection, 16 bits a word, from an urn that the last replaces.
    """
    used, row, size = 0, first, places_PN.shape[1]
    moved = np.empty(size, dtype=np.int64)
    while row < len(places_PN):
        at, i = used, 0
        while i < size and at + 2 <= len(words):
            left = n_genes - 1 - i
            bits = 0
            while (1 << bits) < left:
                bits += 1
            j = 0
            for _ in range(0, bits + 1, 16):
                j = 65536 * j + int(words[at] >> np.uint64(16))
                at += 1
            j &= (1 << bits) - 1
            if j < left:
                places_PN[row, i] = urn[j] + (1 if urn[j] >= row % n_genes else 0)
                urn[j] = urn[left - 1]
                moved[i] = j
                i += 1
        # Only what was drawn has moved, so that putting it back costs no more than drawing.
        for k in range(i):
            urn[moved[k]] = moved[k]
        if i < size:
            break
        used, row = at, row + 1
    return row - first, used


@kernel
def shrink_block(
    y_gS: F64,
    first: int,
    samples: tuple[int, int],
    library_S: F64,
    cell_S: Int,
    log_mean_CG: F64,
    gamma_G: F64,
    dispersion_G: F64,
    drawn_gN: Int,
    gamma_g: F64,
    dispersion_g: F64,
) -> None:
    """Shrunk shifts and dispersions of a block of genes in one batch.

    Args:
        y_gS: counts of the block.
        first: place of its first gene among all.
        samples: first of the batch's samples, and the one after the last.
        library_S, cell_S: library and cell of each sample.
        log_mean_CG: log mean per count of library, of each cell and gene.
        gamma_G, dispersion_G: of this batch, all genes.
        drawn_gN: the genes that each is compared with; no columns: all others.
        gamma_g, dispersion_g: the answer.
    """
    a, b = samples
    n_all = len(gamma_G)
    terms_GK = np.empty((n_all, SMALL + 1))
    for i in range(n_all):
        size_terms(1.0 / dispersion_G[i], terms_GK[i])
    everyone = drawn_gN.shape[1] == 0
    n = n_all if everyone else drawn_gN.shape[1]
    for g in range(len(y_gS)):
        own = first + g
        weight, gamma, dispersion = 0.0, 0.0, 0.0
        for i in range(n):
            other = i if everyone else drawn_gN[g, i]
            if other == own:
                continue
            size, log_likelihood = 1.0 / dispersion_G[other], 0.0
            for j in range(a, b):
                mean = library_S[j] * math.exp(log_mean_CG[cell_S[j], other])
                log_likelihood += _log_term(y_gS[g, j], mean, size, terms_GK[other])
                if log_likelihood < _LEAST_LOG:
                    break
            likelihood = math.exp(log_likelihood)
            weight += likelihood
            gamma += likelihood * gamma_G[other]
            dispersion += likelihood * dispersion_G[other]
        gamma_g[g] = gamma / weight if weight > 0.0 else gamma_G[own]
        dispersion_g[g] = dispersion / weight if weight > 0.0 else dispersion_G[own]


@kernel
def _log_term(y: float, mean: float, size: float, terms_K: F64) -> float:
    """Log probability of a count, also where the mean is zero."""
    if mean == 0.0:
        return 0.0 if y == 0.0 else -math.inf
    return log_probability(y, mean, size, terms_K)
