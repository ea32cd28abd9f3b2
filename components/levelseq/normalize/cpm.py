"""Counts per million, and their log2 with a prior count: edgeR's `cpm`.

Passes over the data: none to fit (library sizes are known), one to apply. Both are row-wise: a
sample has the same values alone, in a chunk of a stream, and among others. CPM of CSR is CSR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Matrix, checked, is_sparse
from levelseq.normalize.row_blocks import filled

__all__ = ["State", "apply", "checked_libraries", "cpm", "fit", "scaled_rows"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The frozen prior.

    Attributes:
        mean_library: mean effective library size of the fit.
        prior_count: what a sample of that library gets added to its counts.
    """

    mean_library: float
    prior_count: float


def cpm(x_SG: Matrix, library_S: Any, samples: Sequence[str] | None = None) -> Matrix:
    """Counts per million of the library (S, G); CSR stays CSR.

    Args:
        x_SG: counts, samples x genes.
        library_S: effective library sizes, i.e. library size times normalization factor.
        samples: names for messages.

    Raises:
        BadInput: not counts, or a library that is not positive; names the sample.

    Follows `edgeR::cpm` (Robinson, McCarthy & Smyth 2010).
    """
    x_SG = checked(x_SG, samples)
    library_S = checked_libraries(library_S, x_SG.shape[0], samples)
    return scaled_rows(x_SG, 1e6 / library_S)


def fit(library_S: Any, prior_count: float = 2.0, samples: Sequence[str] | None = None) -> State:
    """Freeze the prior of log2 CPM.

    Args:
        library_S: effective library sizes of the samples.
        prior_count: added to the counts of a sample with the mean library; other samples get it
            in proportion to their library, so that a zero is the same in all of them.
        samples: names for messages.

    Raises:
        BadInput: a library that is not positive; names the sample.
        BadOption: the prior count is not positive.
    """
    library_S = checked_libraries(library_S, None, samples)
    if not (np.isfinite(prior_count) and prior_count > 0):
        raise BadOption(f"is {prior_count}, and zeros have no logarithm", where="prior_count")
    return State(float(library_S.mean()), float(prior_count))


def apply(x_SG: Matrix, library_S: Any, state: State, samples: Sequence[str] | None = None) -> F64:
    """Log2 CPM (S, G).

    On the samples of the fit this is `edgeR::cpm(log=TRUE)`. A new sample gets its prior in
    proportion to the fit's mean library, so that values of the fit never change.

    Raises:
        BadInput: not counts, or a library that is not positive; names the sample.
    """
    x_SG = checked(x_SG, samples)
    library_S = checked_libraries(library_S, x_SG.shape[0], samples)
    prior_S = state.prior_count * library_S / state.mean_library
    per_count_S = 1e6 / (library_S + 2 * prior_S)

    def log_cpm(x_sG: F64, rows: slice) -> F64:
        out = x_sG + prior_S[rows, None]
        out *= per_count_S[rows, None]
        return np.asarray(np.log2(out, out=out))

    return filled(x_SG, log_cpm)


def checked_libraries(
    library_S: Any,
    n_samples: int | None,
    samples: Sequence[str] | None = None,
    *,
    positive: bool = True,
) -> F64:
    """(S,): library sizes as numbers that can be divided by.

    Raises:
        BadInput: not one for each sample, or one that is not finite and positive.
    """
    numbers_S: F64 = np.asarray(library_S, dtype=np.float64)
    if numbers_S.ndim != 1 or not numbers_S.size or n_samples not in (None, len(numbers_S)):
        wanted = "samples" if n_samples is None else f"of {n_samples} samples"
        raise BadInput(
            f"shape {numbers_S.shape} is not one number for each {wanted}", where="library sizes"
        )
    fits = (numbers_S > 0) if positive else (numbers_S >= 0)
    bad = np.flatnonzero(~(fits & np.isfinite(numbers_S)))
    if bad.size:
        name = samples[bad[0]] if samples is not None else f"in row {bad[0]}"
        raise BadInput(
            f"has library size {numbers_S[bad[0]]:g}",
            where=f"sample {name}",
            do="leave samples without counts out",
        )
    return numbers_S


def scaled_rows(x_SG: Matrix, by_S: F64) -> Matrix:
    """The counts times a number for each sample, as float64; CSR stays CSR."""
    if not is_sparse(x_SG):
        return filled(x_SG, lambda x_sG, rows: x_sG * by_S[rows, None])
    out = sp.csr_matrix(x_SG, dtype=np.float64, copy=True)
    out.data *= np.repeat(by_S, np.diff(out.indptr))
    return out
