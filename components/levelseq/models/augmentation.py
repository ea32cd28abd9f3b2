"""Random changes of what the network is shown in training, so that few cells teach more.

Each is decided by a seed, a step and a row of its minibatch, so that a run that was killed sees the
same. Held-out losses and mapping see cells as they are. Shapes: S observations, K neighbours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.models.random_words import next_word, stream
from levelseq.normalize.compiled import kernel

__all__ = ["TERMS", "Augmentation", "Partners", "hide_genes", "other_styles", "parse_terms"]

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

TERMS = ("thinning", "gene_drop", "mixing", "style_swap")

MOST_HIDDEN = 19661
"""Of 65,536 genes, so many are hidden at most from a cell's encoder: three tenths."""

_LOW, _16 = np.uint64(0xFFFF), np.uint64(16)
_GENES, _STYLES = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F)
_ONE, _ZERO, _GENE = np.float32(1.0), np.float32(0.0), np.uint64(0xE7037ED1A0B428DB)


class Partners(NamedTuple):
    """(S, K) numbers of the cells that each may be mixed with, and G."""

    of_SK: I64
    n_genes: int


class Augmentation(NamedTuple):
    """What is changed at random.

    Attributes:
        thinning: the encoder sees a binomial share of a cell's counts, between a half and all, over
            a size factor as much smaller: it learns to place a cell where a deeper sequenced one of
            its kind lies.
        gene_drop: a share of a cell's genes, up to three tenths, is hidden from the encoder.
        style_swap: the encoder's hidden layer is given the effects of another path for half of the
            cells, whose counts are decoded on their own. To bring a cell's counts to the other path
            as well, by the ratio of the decoder's gene effects, would change nothing: the encoder
            divides by the same effects again.
        partners: neighbours that half of the cells are mixed with (see `cell_mixing`); None: none.
    """

    thinning: bool = True
    gene_drop: bool = False
    style_swap: bool = False
    partners: Partners | None = None


def parse_terms(text: str) -> tuple[str, ...]:
    """The terms that a text names with commas, in the order of `TERMS`; 'none': none.

    Raises:
        ValueError: one is unknown.
    """
    names = {part.strip() for part in text.split(",")} - {""}
    if names == {"none"}:
        return ()
    unknown = sorted(names - set(TERMS))
    if unknown or not names:
        raise ValueError(f"should be some of {', '.join(TERMS)} with commas, or none, or auto")
    return tuple(term for term in TERMS if term in names)


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
