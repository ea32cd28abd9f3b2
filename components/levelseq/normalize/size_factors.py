"""Size factors with geometric mean 1 over their fit, whatever method they come from.

A method is a module with a `State`, `fitted(chunks, ...)` that gives the state and the factors of
the fit's samples, and `measured(chunks, state)` that gives those of any. Passes over the data are
the module's own: nothing is read twice for libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadOption
from levelseq.normalize import (
    geometric,
    iterate,
    library,
    log1p_cpm,
    median_of_ratios,
    median_sizes,
    poscounts,
    rle,
    tmm,
    tmmwsp,
    upper_quartile,
)
from levelseq.normalize.chunks import Chunks
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.median_of_ratios import ControlGenes

__all__ = [
    "METHODS",
    "NORMALIZATION_FACTORS",
    "Fit",
    "SizeFactors",
    "Sizes",
    "apply",
    "fit",
    "measured",
]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class _Method:
    """How a method is fitted and applied.

    Attributes:
        state: the class of its state.
        fitted, measured: the module's functions.
        of_library: its factors multiply the library, as edgeR's do.
        control_genes: it can rest on some genes.
        options: what `fitted` is given beside the counts.
    """

    state: type[Any]
    fitted: Callable[..., Fitted[Any]]
    measured: Callable[[Chunks, Any], Measured]
    of_library: bool = False
    control_genes: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def _of(module: Any, **facts: Any) -> _Method:
    return _Method(module.State, module.fitted, module.measured, **facts)


_METHODS: dict[str, _Method] = {
    "median_of_ratios": _of(median_of_ratios, control_genes=True),
    "poscounts": _of(poscounts, control_genes=True),
    "poscounts_matrix": _of(poscounts, control_genes=True, options={"rescaled": False}),
    "iterate": _of(iterate),
    "tmm": _of(tmm, of_library=True),
    "tmmwsp": _of(tmmwsp, of_library=True),
    "rle": _of(rle, of_library=True),
    "upper_quartile": _of(upper_quartile, of_library=True),
    "library": _of(library),
    "geometric": _of(geometric),
    "median": _of(median_sizes),
    "log1p_cpm": _of(log1p_cpm),
}
METHODS: dict[str, type[Any]] = {name: method.state for name, method in _METHODS.items()}
"""The class of each method's state, by the method's name."""
NORMALIZATION_FACTORS = frozenset(name for name, method in _METHODS.items() if method.of_library)
"""Methods that natively give factors of the library, not size factors."""


@dataclass(frozen=True)
class SizeFactors:
    """What a fit froze.

    Attributes:
        method: a name in `METHODS`.
        reference: the method's own state.
        scale: geometric mean over the fit of what the method gives; divides every size factor.
        reference_library: geometric mean library over the fit; CPM is
            1e6 count / (size factor x reference library).
    """

    method: str
    reference: Any
    scale: float
    reference_library: float


class Sizes(NamedTuple):
    """Of each sample (S,).

    Attributes:
        size_factor_S: with geometric mean 1 over the fit; 1 for a sample without counts.
        library_S: total counts.
        native_S: what the method's own package returns: DESeq2's and scuttle's size factors,
            edgeR's normalization factors.
    """

    size_factor_S: F64
    library_S: F64
    native_S: F64


class Fit(NamedTuple):
    """The frozen state, and the fields of `Sizes` of the fit's samples."""

    state: SizeFactors
    size_factor_S: F64
    library_S: F64
    native_S: F64


def fit(method: str, chunks: Chunks, *, control_genes: ControlGenes = None) -> Fit:
    """Size factors of the fit's samples, and what new samples need.

    Args:
        method: a name in `METHODS`.
        chunks: counts.
        control_genes: genes that DESeq2's methods rest on: a mask (G,), or numbers from 0.

    Raises:
        BadInput: the method is not defined for these samples; names the first one.
        BadOption: no such method, or it takes no control genes.
    """
    known = _method(method)
    options = dict(known.options)
    if control_genes is not None:
        if not known.control_genes:
            takers = ", ".join(name for name, other in _METHODS.items() if other.control_genes)
            raise BadOption(f"{method} takes no control genes", do=f"use one of {takers}")
        options["control_genes"] = control_genes
    reference, native_S, library_S = known.fitted(chunks, **options)
    raw_S = native_S * library_S if known.of_library else native_S
    counted = library_S > 0
    # By log1p_cpm this is 1 but for rounding, and states of it have always held 1.
    scale = 1.0 if method == "log1p_cpm" else float(np.exp(np.log(raw_S[counted]).mean()))
    by_library = log1p_cpm.from_libraries(library_S)
    state = SizeFactors(method, reference, scale, by_library.reference_library)
    return Fit(state, np.where(counted, raw_S / scale, 1.0), library_S, native_S)


def apply(chunks: Chunks, state: SizeFactors) -> F64:
    """Size factors (S,) of samples against the frozen reference; 1 for one without counts.

    Raises:
        BadInput: the method is not defined for one of these samples.
    """
    return measured(chunks, state).size_factor_S


def measured(chunks: Chunks, state: SizeFactors) -> Sizes:
    """Size factors, libraries and the method's own factors of samples, in one pass; see `apply`."""
    known = _method(state.method)
    native_S, library_S = known.measured(chunks, state.reference)
    raw_S = native_S * library_S if known.of_library else native_S
    return Sizes(np.where(library_S > 0, raw_S / state.scale, 1.0), library_S, native_S)


def _method(name: str) -> _Method:
    if name not in _METHODS:
        raise BadOption(f"{name!r} gives no size factors", do=f"use one of {', '.join(METHODS)}")
    return _METHODS[name]
