"""Random changes of what the network is shown in training, so that few cells teach more.

Each is decided by a seed, a step and a row of its minibatch, so that a run that was killed sees the
same. Held-out losses and mapping see cells as they are. Shapes: S observations, K neighbours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["TERMS", "Augmentation", "Partners", "parse_terms"]

I64 = NDArray[np.int64]

TERMS = ("thinning", "gene_drop", "mixing", "style_swap")


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
