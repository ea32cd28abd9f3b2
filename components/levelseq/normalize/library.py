"""Size factors by library size: scuttle's `librarySizeFactors`.

Passes over the data: one to fit, one to apply. Memory: one number a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunks, Matrix, in_memory
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.log1p_cpm import libraries

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "fitted", "measured"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The frozen reference: the mean library of the fit's samples."""

    mean_library: float


def fit(x_SG: Matrix, samples: Sequence[str] | None = None) -> State:
    """Mean library size; a sample without counts has library 0.

    Raises:
        BadInput: no sample has counts.

    Follows `scuttle::librarySizeFactors` (McCarthy et al. 2017).
    """
    return fit_streamed(in_memory(x_SG, samples))


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Size factors (S,): library over the mean library of the fit.

    On the samples of the fit this is scuttle's answer, but for a sample without counts, where
    scuttle's 0 would make every value NaN: it gets 1.
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
    library_S = libraries(chunks)
    if not library_S.any():
        raise BadInput("no sample has counts", where="data")
    state = State(float(library_S.mean()))
    return Fitted(state, _size_factors(library_S, state), library_S)


def measured(chunks: Chunks, state: State) -> Measured:
    """Size factors and libraries of samples, in one pass."""
    library_S = libraries(chunks)
    return Measured(_size_factors(library_S, state), library_S)


def _size_factors(library_S: F64, state: State) -> F64:
    return np.where(library_S > 0, library_S / state.mean_library, 1.0)
