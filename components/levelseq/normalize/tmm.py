"""Normalization factors by the trimmed mean of M values: edgeR's `method="TMM"`.

Passes over the data: four to fit (libraries; upper quartiles; the reference sample; factors),
one to apply. Memory: a few vectors of genes and a block of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunks, Matrix, dense_rows, in_memory

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed"]

F64 = NDArray[np.float64]

_LOG_RATIO_TRIM = 0.3
_SUM_TRIM = 0.05


@dataclass(frozen=True)
class State:
    """The frozen reference sample.

    Attributes:
        reference_G: its counts (G,).
        reference_library: its library size.
        log_mean_factor: mean natural log of the fit's factors, so that those multiply to one.
    """

    reference_G: F64
    reference_library: float
    log_mean_factor: float


def fit(x_SG: Matrix, samples: Sequence[str] | None = None) -> State:
    """Choose the reference sample as edgeR does, and what makes the factors multiply to one.

    Args:
        x_SG: counts, samples x genes, dense or sparse; library sizes are its row sums.
        samples: names for messages.

    Raises:
        BadInput: a sample has no counts, or shares no gene with the reference sample.

    Follows `edgeR::calcNormFactors(method="TMM")` (Robinson & Oshlack 2010).
    """
    return fit_streamed(in_memory(x_SG, samples))


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Normalization factors (S,) of samples against the frozen reference sample.

    On the samples of the fit this is edgeR's answer; a new sample is divided by the same mean
    factor. A sample's effective library is its library times its factor.

    Raises:
        BadInput: a sample has no counts, or shares no gene with the reference sample.
    """
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(chunks: Chunks) -> State:
    """As `fit`, in four passes over chunks."""
    library_S, root_sum_S, expressed_G = _libraries(chunks)
    quartile_S = np.concatenate(
        [_upper_quartile(x_SG[:, expressed_G]) for _, x_SG in _rows(chunks)]
    )
    quartile_S = quartile_S / library_S
    if np.median(quartile_S) < 1e-20:
        reference = int(np.argmax(root_sum_S))
    else:
        reference = int(np.argmin(np.abs(quartile_S - math.fsum(quartile_S) / len(quartile_S))))
    x_G = _row(chunks, reference)
    unscaled = State(x_G, float(library_S[reference]), 0.0)
    factors = apply_streamed(chunks, unscaled)
    return State(x_G, unscaled.reference_library, float(np.log(factors).mean()))


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    factors = [
        _factor(x_G, float(x_G.sum()), state.reference_G, state.reference_library, name)
        for names, x_SG in _rows(chunks)
        for name, x_G in zip(names, x_SG)
    ]
    return np.array(factors) / math.exp(state.log_mean_factor)


def _rows(chunks: Chunks) -> Iterator[tuple[Sequence[str], F64]]:
    for chunk in chunks():
        for rows, x_SG in dense_rows(chunk.x_SG):
            yield chunk.samples[rows], x_SG


def _row(chunks: Chunks, wanted: int) -> F64:
    seen = 0
    for _, x_SG in _rows(chunks):
        if wanted < seen + len(x_SG):
            return np.array(x_SG[wanted - seen])
        seen += len(x_SG)
    raise IndexError(wanted)


def _libraries(chunks: Chunks) -> tuple[F64, F64, NDArray[np.bool_]]:
    """Library sizes, sums of square roots, and which genes have any count."""
    libraries, root_sums = [], []
    expressed: NDArray[np.bool_] | None = None
    for names, x_SG in _rows(chunks):
        library_S = x_SG.sum(axis=1)
        if not library_S.all():
            name = names[int(np.argmin(library_S))]
            raise BadInput("has no counts", where=f"sample {name}", do="leave the sample out")
        libraries.append(library_S)
        root_sums.append(np.sqrt(x_SG).sum(axis=1))
        any_G = x_SG.any(axis=0)
        expressed = np.asarray(any_G if expressed is None else expressed | any_G)
    if expressed is None:
        raise BadInput("there are no samples", where="tmm")
    return np.concatenate(libraries), np.concatenate(root_sums), expressed


def _upper_quartile(x_SG: F64) -> F64:
    """R's `quantile(x, 0.75)`, type 7; written out since a last bit can change the reference."""
    position = (x_SG.shape[1] - 1) * 0.75
    low, high = math.floor(position), math.ceil(position)
    part = np.partition(x_SG, (low, high), axis=1)
    weight = position - low
    return np.asarray((1 - weight) * part[:, low] + weight * part[:, high])


def _factor(x_G: F64, library: float, ref_G: F64, ref_library: float, name: str) -> float:
    """One sample's factor against the reference, before scaling (edgeR's `.calcFactorTMM`)."""
    both = (x_G > 0) & (ref_G > 0)
    if not both.any():
        raise BadInput(
            "shares no gene that has counts with the reference sample",
            where=f"sample {name}",
            do="leave the sample out, or use log1p_cpm",
        )
    obs, ref = x_G[both], ref_G[both]
    log_ratio = np.log2((obs / library) / (ref / ref_library))
    if np.abs(log_ratio).max() < 1e-6:
        return 1.0
    abundance = (np.log2(obs / library) + np.log2(ref / ref_library)) / 2
    variance = (library - obs) / library / obs + (ref_library - ref) / ref_library / ref
    keep = _untrimmed(log_ratio, _LOG_RATIO_TRIM) & _untrimmed(abundance, _SUM_TRIM)
    # edgeR leaves 0/0 out: a gene that is the whole library of both has no variance.
    weight = np.divide(1.0, variance, out=np.zeros_like(variance), where=variance > 0)[keep]
    total = weight.sum()
    return float(2 ** ((log_ratio[keep] * weight).sum() / total)) if total > 0 else 1.0


def _untrimmed(values: F64, trim: float) -> NDArray[np.bool_]:
    n = len(values)
    low = math.floor(n * trim) + 1
    rank = rankdata(values)
    return (rank >= low) & (rank <= n + 1 - low)
