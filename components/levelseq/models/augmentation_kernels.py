"""Gene drop and style swap inside kernels, from random words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.models.random_words import next_word, stream
from levelseq.normalize.compiled import kernel

__all__ = ["MOST_HIDDEN", "hide_genes", "other_styles"]

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

MOST_HIDDEN = 19661
"""Of 65,536 genes, so many are hidden at most from a cell's encoder: three tenths."""

_LOW, _16 = np.uint64(0xFFFF), np.uint64(16)
_GENES, _STYLES = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F)
_ONE, _ZERO, _GENE = np.float32(1.0), np.float32(0.0), np.uint64(0xE7037ED1A0B428DB)


@kernel
def hide_genes(gene_N: Any, shown_N: F32, state: Any) -> None:
    """Set a share of a cell's genes to zero; which share and which genes, a state decides.

    The rest is not raised: a gene that was not measured says nothing of the others.
    """
    state ^= _GENES
    threshold = (next_word(state) & _LOW) * np.uint64(MOST_HIDDEN) >> _16
    for i in range(len(shown_N)):
        word = next_word(state ^ (np.uint64(gene_N[i]) + np.uint64(1)) * _GENE)
        shown_N[i] *= _ONE if (word & _LOW) >= threshold else _ZERO


@kernel
def other_styles(place_B: I64, n_paths: int, seed: int, step: int) -> I64:
    """The paths whose effects the encoder's hidden layer gets: of half of the cells, any other."""
    style_B = place_B.copy()
    for b in range(len(place_B)):
        word = next_word(stream(seed, step, b) ^ _STYLES)
        if n_paths > 1 and word & np.uint64(1):
            further = 1 + np.int64((word >> _16) % np.uint64(n_paths - 1))
            style_B[b] = (place_B[b] + further) % n_paths
    return style_B
