"""Size factors by library size, and log1p of counts per million for any size factors.

Passes over the data: one to fit, one to apply. Memory: one number a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunks, Matrix, in_memory, is_sparse
from levelseq.normalize.fitted import Fitted, Measured

__all__ = [
    "State",
    "apply",
    "apply_streamed",
    "fit",
    "fit_streamed",
    "fitted",
    "from_libraries",
    "libraries",
    "measured",
    "size_factors",
    "values",
]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The frozen reference: the geometric mean library of the samples with counts."""

    reference_library: float


def fit(x_SG: Matrix, samples: Sequence[str] | None = None) -> State:
    """Geometric mean library size; samples without counts are left out of it.

    Raises:
        BadInput: no sample has counts.
    """
    return fit_streamed(in_memory(x_SG, samples))


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Size factors (S,): library over the reference library; 1 for a sample without counts."""
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(chunks: Chunks) -> State:
    """As `fit`, in one pass over chunks."""
    return from_libraries(libraries(chunks))


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    return size_factors(libraries(chunks), state)


def fitted(chunks: Chunks) -> Fitted[State]:
    """The state and the size factors of the fit's samples, in one pass."""
    library_S = libraries(chunks)
    state = from_libraries(library_S)
    return Fitted(state, size_factors(library_S, state), library_S)


def measured(chunks: Chunks, state: State) -> Measured:
    """Size factors and libraries of samples, in one pass."""
    library_S = libraries(chunks)
    return Measured(size_factors(library_S, state), library_S)


def libraries(chunks: Chunks) -> F64:
    """Library sizes (S,): the samples' total counts."""
    sums = [np.asarray(c.x_SG.sum(axis=1, dtype=np.float64)).ravel() for c in chunks()]
    return np.concatenate(sums) if sums else np.empty(0)


def from_libraries(library_S: F64) -> State:
    """As `fit`, from library sizes."""
    if not library_S.any():
        raise BadInput("no sample has counts", where="data")
    return State(float(np.exp(np.log(library_S[library_S > 0]).mean())))


def size_factors(library_S: F64, state: State) -> F64:
    """As `apply`, from library sizes."""
    return np.where(library_S > 0, library_S / state.reference_library, 1.0)


def values(x_SG: Matrix, size_factor_S: F64, reference_library: float) -> Matrix:
    """Natural log of 1 + CPM, where CPM = 1e6 count / (size factor x reference library).

    Args:
        x_SG: counts, samples x genes; CSR stays CSR, since zeros stay zero.
        size_factor_S: any method's size factors, with geometric mean 1 over its fit.
        reference_library: geometric mean library of the fit.
    """
    per_count_S = 1e6 / (size_factor_S * reference_library)
    if not is_sparse(x_SG):
        return np.log1p(np.asarray(x_SG, dtype=np.float64) * per_count_S[:, None])
    out = sp.csr_matrix(x_SG, dtype=np.float64, copy=True)
    out.data = np.log1p(out.data * np.repeat(per_count_S, np.diff(out.indptr)))
    return out
