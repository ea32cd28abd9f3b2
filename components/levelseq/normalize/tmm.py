"""Normalization factors by the trimmed mean of M values: edgeR's `method="TMM"`.

Passes over the data: four to fit (libraries; upper quartiles; the reference sample; factors), two
where the reference sample is given; one to apply. Memory: a few vectors of genes and a block of
rows.
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
from levelseq.normalize.reference_sample import middle_sample, overview
from levelseq.normalize.selection import pair_at
from levelseq.normalize.trimmed_mean import LOG_RATIO_TRIM, SUM_TRIM, State

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "fitted", "measured"]

F64 = NDArray[np.float64]


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
        ref_column: the reference sample, by number from 0 or name; None: as edgeR chooses.
        log_ratio_trim, sum_trim: shares trimmed from each end of M and A values, below 0.5.
        weighted: whether M values count by their inverse variance.

    Raises:
        BadInput: a sample has no counts, or shares no gene with the reference sample.
        BadOption: no such reference sample, or a trim that leaves nothing.

    Follows `edgeR::calcNormFactors(method="TMM")` (Robinson & Oshlack 2010).
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
        BadInput: a sample has no counts, or shares no gene with the reference sample.
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
    """As `fit`, in four passes over chunks."""
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
    """The state and the factors of the fit's samples, in four passes."""
    return trimmed_mean.fitted(
        chunks, _log2_factors, _reference, ref_column, log_ratio_trim, sum_trim, weighted
    )


def measured(chunks: Chunks, state: State) -> Measured:
    """Factors and libraries of samples, in one pass."""
    return trimmed_mean.measured(chunks, state, _log2_factors)


def _reference(chunks: Chunks) -> int:
    return middle_sample(chunks, overview(chunks, "tmm"))


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
    """Each row's log2 factor before scaling; NaN for a row that shares no gene.

    Operations and their order are edgeR's, with log2 of the C library: a last bit more or less
    makes or breaks ties of M or A values, and those decide what is trimmed.
    """
    gene_K = np.flatnonzero(ref_G > 0)
    share_K = ref_G[gene_K] / ref_library
    variance_K = (ref_library - ref_G[gene_K]) / ref_library / ref_G[gene_K]
    n = len(gene_K)
    log_share_K = np.empty(n)
    for k in range(n):
        log_share_K[k] = math.log2(share_K[k])
    m, a, work = np.empty(n + 1), np.empty(n + 1), np.empty(n + 1)
    place = np.empty(n + 1, np.int64)
    for r in range(x_RG.shape[0]):
        row, library = x_RG[r], library_R[r]
        n, largest = 0, 0.0
        for k in range(len(gene_K)):
            count = row[gene_K[k]]
            if count > 0:
                share = count / library
                m[n] = math.log2(share / share_K[k])
                a[n] = (math.log2(share) + log_share_K[k]) / 2
                largest = max(largest, abs(m[n]))
                place[n] = k
                n += 1
        log2_R[r] = np.nan if n == 0 else 0.0
        if largest < 1e-6:
            continue
        kept = _untrimmed(m, a, n, trims, work)
        total, weights = 0.0, 0.0
        for j in range(len(kept)):
            i = kept[j]
            weight = 1.0
            if weighted:
                obs = row[gene_K[place[i]]]
                variance = (library - obs) / library / obs + variance_K[place[i]]
                # edgeR leaves 0/0 out: a gene that is the whole library of both.
                weight = 1.0 / variance if variance > 0 else 0.0
            total += m[i] * weight
            weights += weight
        if weights > 0:
            log2_R[r] = total / weights


@kernel
def _untrimmed(m: F64, a: F64, n: int, trims: tuple[float, float], work: F64) -> NDArray[np.int64]:
    """Places of the values that neither M nor A trims."""
    m_low, m_high, with_m_low, with_m_high = _bounds(m, n, trims[0], work)
    a_low, a_high, with_a_low, with_a_high = _bounds(a, n, trims[1], work)
    kept, found = np.empty(n + 1, np.int64), 0
    for i in range(n):
        kept[found] = i
        # Without branches, which the processor could not foresee.
        found += (
            ((m[i] > m_low) | ((m[i] == m_low) & with_m_low))
            & ((m[i] < m_high) | ((m[i] == m_high) & with_m_high))
            & ((a[i] > a_low) | ((a[i] == a_low) & with_a_low))
            & ((a[i] < a_high) | ((a[i] == a_high) & with_a_high))
        )
    return kept[:found]


@kernel
def _bounds(values: F64, n: int, trim: float, work: F64) -> tuple[float, float, bool, bool]:
    """The least and greatest value of which the mean rank is not trimmed, and if they are kept."""
    first = math.floor(n * trim) + 1
    last = n + 1 - first
    low = pair_at(values, n, first - 1, work)[0]
    high = pair_at(values, n, last - 1, work)[0]
    below_low, at_low, below_high, at_high = 0, 0, 0, 0
    for i in range(n):
        below_low += values[i] < low
        at_low += values[i] == low
        below_high += values[i] < high
        at_high += values[i] == high
    rank_low, rank_high = below_low + (at_low + 1) / 2, below_high + (at_high + 1) / 2
    return low, high, first <= rank_low <= last, first <= rank_high <= last
