"""Quantile normalization and voom on streams."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize import quantile, voom
from levelseq.normalize.columns import Batches, covariate_design
from levelseq.normalize.design import Design
from levelseq.normalize.level import Level
from levelseq.normalize.params import MethodParams
from levelseq.normalize.stream import Stream

__all__ = [
    "apply_quantile",
    "apply_voom",
    "fit_quantile",
    "fit_voom",
]

F64 = NDArray[np.float64]
Columns = tuple[Batches, Design] | None


def fit_quantile(stream: Stream, _: Columns, __: MethodParams, ___: ExitStack) -> Level:
    """The mean of the samples' sorted values."""
    return _quantile(quantile.fit_streamed(stream.chunks(stream.shared)), stream)


def apply_quantile(
    stream: Stream, _: Columns, __: MethodParams, state: quantile.State, ___: ExitStack
) -> Level:
    """New samples onto the frozen distribution."""
    return _quantile(state, stream)


def _quantile(state: quantile.State, stream: Stream) -> Level:
    return Level(state, lambda x_SG, _: quantile.apply(x_SG, state), stream.shared)


def fit_voom(stream: Stream, columns: Columns, _: MethodParams, __: ExitStack) -> Level:
    """Log2 CPM with weights by the frozen trend."""
    assert stream.samples is not None
    design_SK = _model(columns)
    state = voom.fit_streamed(stream.chunks(stream.shared), stream.samples.library_S, design_SK)
    return _voom(state, stream, design_SK)


def apply_voom(
    stream: Stream, columns: Columns, _: MethodParams, state: voom.State, __: ExitStack
) -> Level:
    """New samples by the frozen trend, where the fit had no design."""
    if len(state.coefficient_KG) > 1:
        raise BadInput(
            "its weights rest on the design of its own samples",
            where="the fit by voom",
            do="fit voom without batch and condition, or fit anew",
        )
    return _voom(state, stream, None)


def _voom(state: voom.State, stream: Stream, design_SK: F64 | None) -> Level:
    assert stream.samples is not None
    library_S = stream.samples.library_S

    def weights(x_SG: F64, rows: slice) -> F64:
        design = None if design_SK is None else design_SK[rows]
        return voom.apply(x_SG, library_S[rows], state, design)[1]

    return Level(
        state,
        lambda x_SG, rows: voom.log_cpm(x_SG, library_S[rows]),
        stream.shared,
        {"weights": weights},
        state.notices(),
    )


def _model(columns: Columns) -> F64 | None:
    return None if columns is None else covariate_design(columns[1], with_batch=True)
