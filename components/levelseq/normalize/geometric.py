"""Size factors by each sample's geometric mean: scuttle's `geometricSizeFactors`.

Passes over the data: one to fit, one to apply. Memory: a block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunks, Matrix, in_memory
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.row_groups import libraries, of_all_rows

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "fitted", "measured"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The frozen reference: mean over the fit's samples of their geometric means."""

    mean_geometric: float


def fit(x_SG: Matrix, samples: Sequence[str] | None = None) -> State:
    """Mean of the samples' geometric means of 1 + count, over all genes.

    Raises:
        BadInput: no sample has counts.

    Follows `scuttle::geometricSizeFactors` (McCarthy et al. 2017).
    """
    return fit_streamed(in_memory(x_SG, samples))


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Size factors (S,): a sample's geometric mean of 1 + count over the fit's mean of those.

    On the samples of the fit this is scuttle's answer. It goes over all genes of the matrix, so
    new samples need the same genes.
    """
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(chunks: Chunks) -> State:
    """As `fit`, in one pass over chunks."""
    return fitted(chunks).state


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    return measured(chunks, state).native_S


def fitted(chunks: Chunks) -> Fitted[State]:
    """The state and the size factors of the fit's samples, in one pass."""
    raw_S, library_S = measured(chunks, State(1.0))
    if not library_S.any():
        raise BadInput("no sample has counts", where="data")
    mean = float(raw_S.mean())
    return Fitted(State(mean), raw_S / mean, library_S)


def measured(chunks: Chunks, state: State) -> Measured:
    """Size factors and libraries of samples, in one pass."""

    def of_block(block: F64) -> F64:
        return np.column_stack([np.exp(np.log1p(block).mean(axis=1)), libraries(block)])

    both = of_all_rows(chunks, of_block).reshape(-1, 2)
    return Measured(both[:, 0] / state.mean_geometric, both[:, 1].copy())
