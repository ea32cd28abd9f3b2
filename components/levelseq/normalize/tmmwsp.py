"""Normalization factors by TMM with singleton pairing: edgeR's `method="TMMwsp"`.

Genes that have counts in only one of two samples are not left out: the largest of each are paired.

Passes over the data: three to fit (sums of square roots; the reference sample; factors), two where
the reference sample is given; one to apply. Memory: a few vectors of genes and a block of rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize import trimmed_mean
from levelseq.normalize.chunks import Chunks, Matrix, in_memory
from levelseq.normalize.compiled import kernel
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.reference_sample import root_sums
from levelseq.normalize.selection import pair_at
from levelseq.normalize.trimmed_mean import LOG_RATIO_TRIM, SUM_TRIM, State

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "fitted", "measured"]

F64 = NDArray[np.float64]

_POSITIVE = 1e-14


def fit(
    x_SG: Matrix,
    samples: Sequence[str] | None = None,
    *,
    ref_column: int | str | None = None,
    log_ratio_trim: float = LOG_RATIO_TRIM,
    sum_trim: float = SUM_TRIM,
    weighted: bool = True,
) -> State:
    """Choose the reference sample as edgeR does, and what makes the factors multiply to one.

    Args:
        x_SG: counts, samples x genes, dense or sparse; library sizes are its row sums.
        samples: names for messages.
        ref_column: the reference sample, by number from 0 or name; None: the one with the
            largest sum of square roots.
        log_ratio_trim, sum_trim: shares trimmed from each end of M and A values, below 0.5.
        weighted: whether M values count by their inverse variance.

    Raises:
        BadInput: a sample has no counts.
        BadOption: no such reference sample, or a trim that leaves nothing.

    Follows `edgeR::calcNormFactors(method="TMMwsp")` (edgeR's user guide, 2.8.3).
    """
    return fit_streamed(
        in_memory(x_SG, samples),
        ref_column=ref_column,
        log_ratio_trim=log_ratio_trim,
        sum_trim=sum_trim,
        weighted=weighted,
    )


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Normalization factors (S,) of samples against the frozen reference sample.

    On the samples of the fit this is edgeR's answer; a new sample is divided by the same mean
    factor. A sample's effective library is its library times its factor.

    Raises:
        BadInput: a sample has no counts.
    """
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(
    chunks: Chunks,
    *,
    ref_column: int | str | None = None,
    log_ratio_trim: float = LOG_RATIO_TRIM,
    sum_trim: float = SUM_TRIM,
    weighted: bool = True,
) -> State:
    """As `fit`, in three passes over chunks."""
    return fitted(
        chunks,
        ref_column=ref_column,
        log_ratio_trim=log_ratio_trim,
        sum_trim=sum_trim,
        weighted=weighted,
    ).state


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    return measured(chunks, state).native_S


def fitted(
    chunks: Chunks,
    *,
    ref_column: int | str | None = None,
    log_ratio_trim: float = LOG_RATIO_TRIM,
    sum_trim: float = SUM_TRIM,
    weighted: bool = True,
) -> Fitted[State]:
    """The state and the factors of the fit's samples, in three passes."""
    return trimmed_mean.fitted(
        chunks, _log2_factors, _reference, ref_column, log_ratio_trim, sum_trim, weighted
    )


def measured(chunks: Chunks, state: State) -> Measured:
    """Factors and libraries of samples, in one pass."""
    return trimmed_mean.measured(chunks, state, _log2_factors)


def _reference(chunks: Chunks) -> int:
    return int(np.argmax(root_sums(chunks, "tmmwsp")))


@kernel
def _log2_factors(
    x_RG: F64,
    library_R: F64,
    ref_G: F64,
    ref_library: float,
    trims: tuple[float, float],
    weighted: bool,
    log2_R: F64,
) -> None:
    """Each row's log2 factor before scaling.

    Operations and their order are edgeR's, with log2 of the C library: a last bit more or less
    makes or breaks ties of M or A values, and those decide what is trimmed.
    """
    n_genes = x_RG.shape[1]
    obs, ref = np.empty(n_genes), np.empty(n_genes)
    m, a, shrunk, work = np.empty(n_genes), np.empty(n_genes), np.empty(n_genes), np.empty(n_genes)
    for r in range(x_RG.shape[0]):
        library = library_R[r]
        log2_R[r] = 0.0
        n = _paired(x_RG[r], ref_G, obs, ref, m, a)
        largest = 0.0
        for i in range(n):
            share, ref_share = obs[i] / library, ref[i] / ref_library
            m[i] = math.log2(share / ref_share)
            a[i] = 0.5 * math.log2(share * ref_share)
            largest = max(largest, abs(m[i]))
        if largest < 1e-6:
            continue
        for i in range(n):
            near, near_ref = (obs[i] + 0.5) / (library + 0.5), (ref[i] + 0.5) / (ref_library + 0.5)
            shrunk[i] = math.log2(near / near_ref)
        keep = np.ones(n, np.bool_)
        _drop_ends(m, n, int(n * trims[0]), shrunk, keep, work)
        _drop_ends(a, n, int(n * trims[1]), a, keep, work)
        total, weights = 0.0, 0.0
        for i in range(n):
            if keep[i]:
                share, ref_share = obs[i] / library, ref[i] / ref_library
                variance = (1 - share) / share / library
                variance += (1 - ref_share) / ref_share / ref_library
                weight = (1 + 1e-6) / (variance + 1e-6) if weighted else 1.0
                total += weight * m[i]
                weights += weight
        if weights > 0:
            log2_R[r] = total / weights


@kernel
def _paired(row: F64, ref_G: F64, obs: F64, ref: F64, only_row: F64, only_ref: F64) -> int:
    """Counts of shared genes, then of singletons paired by size, into `obs` and `ref`."""
    n, n_row, n_ref = 0, 0, 0
    for g in range(len(row)):
        if row[g] > _POSITIVE and ref_G[g] > _POSITIVE:
            obs[n], ref[n] = row[g], ref_G[g]
            n += 1
        elif row[g] > _POSITIVE:
            only_row[n_row] = row[g]
            n_row += 1
        elif ref_G[g] > _POSITIVE:
            only_ref[n_ref] = ref_G[g]
            n_ref += 1
    pairs = min(n_row, n_ref)
    if pairs > 0:
        row_sorted, ref_sorted = np.sort(only_row[:n_row]), np.sort(only_ref[:n_ref])
        for i in range(pairs):
            obs[n + i], ref[n + i] = row_sorted[n_row - 1 - i], ref_sorted[n_ref - 1 - i]
    return n + pairs


@kernel
def _drop_ends(
    values: F64, n: int, cut: int, tie_by: F64, keep: NDArray[np.bool_], work: F64
) -> None:
    """Clear `keep` of the `cut` first and last of n values, by value, then `tie_by`, then place."""
    if cut == 0:
        return
    low = pair_at(values, n, cut - 1, work)[0]
    high = pair_at(values, n, n - cut, work)[0]
    more_low, more_high = cut, cut
    for i in range(n):
        if values[i] < low:
            keep[i] = False
            more_low -= 1
        if values[i] > high:
            keep[i] = False
            more_high -= 1
    tied = np.flatnonzero(values[:n] == low)
    order = np.argsort(tie_by[tied], kind="mergesort")
    for i in range(more_low):
        keep[tied[order[i]]] = False
    tied = np.flatnonzero(values[:n] == high)
    order = np.argsort(tie_by[tied], kind="mergesort")
    for i in range(more_high):
        keep[tied[order[len(order) - 1 - i]]] = False
