"""Log2 CPM with a precision weight for each value: limma's `voom`.

Passes over the data: two to fit (coefficients; residuals), one to apply. Memory: coefficients,
a curve of about 200 points, and a block of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunks, Matrix, checked, dense_rows, in_memory
from levelseq.normalize.compiled import blocks, in_threads, kernel
from levelseq.normalize.cpm import checked_libraries
from levelseq.normalize.linear_model import Products, checked_design, orthogonal
from levelseq.normalize.row_blocks import filled
from levelseq.normalize.voom_trend import to_weights, trend

__all__ = ["State", "apply", "fit", "fit_streamed", "log_cpm"]

F64 = NDArray[np.float64]

_GENES = 2048
_LOG2_MILLION = math.log2(1e6)


@dataclass(frozen=True)
class State:
    """The frozen trend of variance by mean.

    Attributes:
        curve_x: log2 counts, ascending; empty where the design has no replication.
        curve_y: root of the standard deviation there; straight between the points.
        coefficient_KG: expected log2 CPM by the design; zero for columns not estimable.
        not_estimable: those columns' numbers.
    """

    curve_x: F64
    curve_y: F64
    coefficient_KG: F64
    not_estimable: tuple[int, ...]

    def notices(self) -> list[str]:
        """What a user should know of the fit, a line each."""
        lines = []
        if not len(self.curve_x):
            lines.append("the design has no replication, so all weights are 1")
        if self.not_estimable:
            columns = ", ".join(str(k) for k in self.not_estimable)
            lines.append(f"columns {columns} of the design follow from the others and are left out")
        return lines


def fit(
    x_SG: Matrix,
    library_S: Any,
    design_SK: Any = None,
    *,
    span: float = 0.5,
    samples: Sequence[str] | None = None,
) -> State:
    """Fit the trend.

    Args:
        x_SG: counts, samples x genes.
        library_S: effective library sizes; zero is allowed.
        design_SK: a design matrix; None: one mean for all samples. A column that follows from
            the ones before it is left out, as R does.
        span: share of the genes that each point of the trend rests on.
        samples: names for messages.

    Raises:
        BadInput: not counts, a library or design that does not match them, fewer than two genes
            with counts, or samples that are copies of each other.

    Follows `limma::voom` of limma 3.54 (Law et al. 2014).
    """
    return fit_streamed(in_memory(x_SG, samples), library_S, design_SK, span=span)


def apply(
    x_SG: Matrix,
    library_S: Any,
    state: State,
    design_SK: Any = None,
    *,
    samples: Sequence[str] | None = None,
) -> tuple[F64, F64]:
    """Log2 CPM and weights, both (S, G).

    On the samples of the fit these are limma's `E` and `weights`. A new sample is taken to have
    the mean that the frozen coefficients give its row of the design, in a library of its own
    size, and the variance that the frozen trend gives that. So both are row-wise.

    Args:
        x_SG: counts, samples x genes.
        library_S: effective library sizes.
        state: of a fit.
        design_SK: rows of the design, with the fit's columns; None where the fit had none.
        samples: names for messages.

    Raises:
        BadInput: not counts, or genes, libraries or design that do not match.
    """
    x_SG = checked(x_SG, samples)
    coefficient_KG = state.coefficient_KG
    if x_SG.shape[1] != coefficient_KG.shape[1]:
        raise BadInput(
            f"has {x_SG.shape[1]} genes, the fit had {coefficient_KG.shape[1]}", where="data"
        )
    e_SG = log_cpm(x_SG, library_S, samples)
    design_SK = checked_design(design_SK, x_SG.shape[0])
    if design_SK.shape[1] != len(coefficient_KG):
        raise BadInput(
            f"has {design_SK.shape[1]} columns, the fit had {len(coefficient_KG)}", where="design"
        )
    if not len(state.curve_x):
        return e_SG, np.ones_like(e_SG)
    log_library_S = np.log2(np.asarray(library_S, dtype=np.float64) + 1) - _LOG2_MILLION

    def weights(_: F64, rows: slice) -> F64:
        count_sG: F64 = design_SK[rows] @ coefficient_KG
        count_sG += log_library_S[rows, None]
        to_weights(count_sG, state.curve_x, state.curve_y)
        return count_sG

    return e_SG, filled(e_SG, weights)


def log_cpm(x_SG: Matrix, library_S: Any, samples: Sequence[str] | None = None) -> F64:
    """Voom's log2 CPM (S, G): half a count is added to each, and one to each library."""
    x_SG = checked(x_SG, samples)
    library_S = checked_libraries(library_S, x_SG.shape[0], samples, positive=False)
    return _log_cpm(x_SG, library_S)


def fit_streamed(
    chunks: Chunks, library_S: Any, design_SK: Any = None, *, span: float = 0.5
) -> State:
    """As `fit`, in two passes over chunks; libraries and design are of all samples in order."""
    library_S = checked_libraries(library_S, None, positive=False)
    design_SK = checked_design(design_SK, len(library_S))
    split = orthogonal(design_SK)
    products, counted_G = Products(len(split.columns)), np.zeros(1, dtype=np.bool_)
    # Lowess jumps where distances tie, as they do among small counts. So what it takes for the
    # genes' positions is R's to the bit: sums in extended precision.
    sum_G = np.zeros(1, dtype=np.longdouble)
    for rows, x_sG in _rows(chunks, len(library_S)):
        e_sG = _log_cpm(x_sG, library_S[rows])
        products.add(split.q_SR[rows], e_sG)
        sum_G = sum_G + _long_sums(e_sG)
        counted_G = counted_G | x_sG.any(axis=0)
    product_RG = products.value_RG
    mean_G = (sum_G / len(library_S)).astype(np.float64)
    if len(mean_G) < 2:
        raise BadInput("has one gene, and a trend needs two", where="data")
    coefficient_KG = split.coefficients(product_RG)
    free = len(library_S) - len(split.columns)
    if free == 0:
        return State(np.empty(0), np.empty(0), coefficient_KG, tuple(split.dropped))
    # From the residuals themselves: differences of squares would lose their digits.
    square_G = np.zeros(len(mean_G))
    for rows, x_sG in _rows(chunks, len(library_S)):
        residual_sG = _log_cpm(x_sG, library_S[rows]) - split.q_SR[rows] @ product_RG
        square_G += np.einsum("sg,sg->g", residual_sG, residual_sG)
    log_count_G = (
        mean_G + _long_mean(np.array([math.log2(n + 1) for n in library_S])) - _LOG2_MILLION
    )
    root_sd_G = (square_G / free) ** 0.25
    curve_x, curve_y = trend(log_count_G[counted_G], root_sd_G[counted_G], span)
    return State(curve_x, curve_y, coefficient_KG, tuple(split.dropped))


def _log_cpm(x_SG: Matrix, library_S: F64) -> F64:
    def work(x_sG: F64, rows: slice) -> F64:
        out = np.empty_like(x_sG)
        _to_log_cpm(np.ascontiguousarray(x_sG), library_S[rows], out)
        return out

    return filled(x_SG, work)


@kernel
def _to_log_cpm(x_SG: F64, library_S: F64, out_SG: F64) -> None:
    """In R's order of operations and with its logarithm: log2 of numpy may differ in a bit."""
    for s in range(x_SG.shape[0]):
        for g in range(x_SG.shape[1]):
            out_SG[s, g] = math.log2((x_SG[s, g] + 0.5) / (library_S[s] + 1) * 1e6)


def _long_sums(e_SG: F64) -> NDArray[np.longdouble]:
    """(G,): sums over samples in extended precision, one after the other as R's `rowMeans`."""
    out = np.empty(e_SG.shape[1], dtype=np.longdouble)

    def add(genes: slice) -> None:
        e_SG[:, genes].sum(axis=0, dtype=np.longdouble, out=out[genes])

    in_threads(add, blocks(len(out), _GENES))
    return out


def _long_mean(values: F64) -> float:
    """R's `mean`, which sums in extended precision, twice."""
    long = values.astype(np.longdouble)
    mean = long.sum() / len(long)
    return float(mean + (long - mean).sum() / len(long))


def _rows(chunks: Chunks, n_samples: int) -> Iterator[tuple[slice, F64]]:
    """Dense rows and their place among all samples.

    Raises:
        BadInput: not as many samples as libraries.
    """
    seen = 0
    for chunk in chunks():
        for rows, x_sG in dense_rows(chunk.x_SG):
            place = slice(seen + rows.start, seen + rows.stop)
            if place.stop <= n_samples:
                yield place, x_sG
        seen += chunk.x_SG.shape[0]
    if seen != n_samples:
        raise BadInput(f"{n_samples} libraries for {seen} samples", where="library sizes")
