"""Size factors with geometric mean 1 over their fit, whatever method they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize import log1p_cpm, median_of_ratios, tmm
from levelseq.normalize.chunks import Chunks

__all__ = ["METHODS", "Fit", "Reference", "SizeFactors", "apply", "fit"]

F64 = NDArray[np.float64]
Reference = median_of_ratios.State | tmm.State | log1p_cpm.State
METHODS: dict[str, type[Reference]] = {
    "median_of_ratios": median_of_ratios.State,
    "tmm": tmm.State,
    "log1p_cpm": log1p_cpm.State,
}


@dataclass(frozen=True)
class SizeFactors:
    """What a fit froze.

    Attributes:
        method: median_of_ratios, tmm or log1p_cpm.
        reference: the method's own state.
        scale: geometric mean over the fit of what the method gives; divides every size factor.
        reference_library: geometric mean library over the fit; CPM is
            1e6 count / (size factor x reference library).
    """

    method: str
    reference: Reference
    scale: float
    reference_library: float


class Fit(NamedTuple):
    """The frozen state, and size factors and library sizes (S,) of the fit's samples."""

    state: SizeFactors
    size_factor_S: F64
    library_S: F64


def fit(method: str, chunks: Chunks) -> Fit:
    """Size factors of the fit's samples, and what new samples need.

    Raises:
        BadInput: the method is not defined for these samples; names the first one.
    """
    library_S = log1p_cpm.libraries(chunks)
    by_library = log1p_cpm.from_libraries(library_S)
    if method == "log1p_cpm":
        state = SizeFactors(method, by_library, 1.0, by_library.reference_library)
        return Fit(state, log1p_cpm.size_factors(library_S, by_library), library_S)
    reference = _reference(method, chunks)
    raw_S = _raw(reference, chunks, library_S)
    scale = float(np.exp(np.log(raw_S).mean()))
    state = SizeFactors(method, reference, scale, by_library.reference_library)
    return Fit(state, raw_S / scale, library_S)


def apply(chunks: Chunks, state: SizeFactors) -> F64:
    """Size factors (S,) of samples against the frozen reference.

    Raises:
        BadInput: the method is not defined for one of these samples.
    """
    return _raw(state.reference, chunks, log1p_cpm.libraries(chunks)) / state.scale


def _reference(method: str, chunks: Chunks) -> Reference:
    if method == "median_of_ratios":
        return median_of_ratios.fit_streamed(chunks)
    if method == "tmm":
        return tmm.fit_streamed(chunks)
    raise BadInput(f"{method!r} gives no size factors", do=f"use one of {', '.join(METHODS)}")


def _raw(reference: Reference, chunks: Chunks, library_S: F64) -> F64:
    if isinstance(reference, median_of_ratios.State):
        return median_of_ratios.apply_streamed(chunks, reference)
    if isinstance(reference, tmm.State):
        return tmm.apply_streamed(chunks, reference) * library_S
    return log1p_cpm.size_factors(library_S, reference)
