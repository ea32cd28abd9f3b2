"""Ratio to a reference material that was measured in every batch.

On a log scale: each batch less the mean of its reference samples. What a batch does to all of its
samples alike cancels, even where batch and condition are confounded, since the reference is the
same in all.

Passes over the data: one to fit, one to apply. Memory: batches x genes, and a block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput
from levelseq.normalize.chunks import Chunk, Chunks, Matrix, checked, dense_rows
from levelseq.normalize.design import Design
from levelseq.normalize.row_blocks import filled

__all__ = ["State", "apply", "extend", "fit", "fit_streamed"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class State:
    """What a fit froze.

    Attributes:
        batches: names, in the order of the rows of the array.
        reference_BG: mean of each batch's reference samples.
        centre_G: added to the ratios: the mean of the rows of `reference_BG`, or zero.
    """

    batches: tuple[str, ...]
    reference_BG: F64
    centre_G: F64


def fit(
    x_SG: Matrix,
    batch: Any,
    is_reference_S: Any,
    *,
    keep_scale: bool = True,
    batch_column: str = "batch",
    samples: Sequence[str] | None = None,
) -> State:
    """Mean of each batch's reference samples.

    Args:
        x_SG: log values, samples x genes.
        batch: the batch of each sample.
        is_reference_S: which samples are of the reference material.
        keep_scale: add the mean over batches of the reference means to the ratios, so that they
            stay log expression; otherwise they are log ratios, and the reference is zero.
        batch_column: what the batch is called in messages.
        samples: names for messages.

    Raises:
        BadInput: NaN, columns that do not match the samples, or batches without a reference
            sample, which are named.

    Follows the ratio-based profiling of the Quartet project (Zheng et al. 2023; Yu et al. 2024).
    """
    x_SG = checked(x_SG, samples, counts=False)
    names = samples if samples is not None else [f"row {i}" for i in range(x_SG.shape[0])]
    return fit_streamed(
        lambda: iter([Chunk(x_SG, names)]),
        batch,
        is_reference_S,
        keep_scale=keep_scale,
        batch_column=batch_column,
    )


def fit_streamed(
    chunks: Chunks,
    batch: Any,
    is_reference_S: Any,
    *,
    keep_scale: bool = True,
    batch_column: str = "batch",
) -> State:
    """As `fit`, in one pass over chunks; batches and references are of all samples in order."""
    is_reference_S = _mask(is_reference_S)
    design = Design(batch, batch_column=batch_column).checked(len(is_reference_S))
    batches = tuple(sorted(set(design.batch)))
    means = _reference_means(chunks, design, batches, is_reference_S)
    centre_G = means.mean(axis=0) if keep_scale else np.zeros(means.shape[1])
    return State(batches, means, centre_G)


def apply(
    x_SG: Matrix,
    batch: Any,
    state: State,
    is_reference_S: Any = None,
    *,
    batch_column: str = "batch",
    samples: Sequence[str] | None = None,
) -> F64:
    """Log values (S, G) less the reference of their batch, on the scale of the fit.

    Row-wise: samples of a batch that was in the fit are held against its frozen reference mean,
    whether or not reference samples come along. A batch that was not needs reference samples
    among these; the scale stays the fit's.

    Raises:
        BadInput: NaN, other genes than in the fit, or new batches without a reference sample,
            which are named.
    """
    x_SG = checked(x_SG, samples, counts=False)
    if x_SG.shape[1] != len(state.centre_G):
        raise BadInput(
            f"has {x_SG.shape[1]} genes, the fit had {len(state.centre_G)}", where="data"
        )
    design = Design(batch, batch_column=batch_column).checked(x_SG.shape[0])
    given = np.zeros(x_SG.shape[0], dtype=np.bool_) if is_reference_S is None else is_reference_S
    state = extend(
        state, lambda: iter([Chunk(x_SG, ())]), design.batch, given, batch_column=batch_column
    )
    shift_BG = state.reference_BG - state.centre_G
    code_S = design.batch_codes(state.batches)
    return filled(x_SG, lambda x_sG, rows: x_sG - shift_BG[code_S[rows]])


def extend(
    state: State,
    chunks: Chunks,
    batch: Any,
    is_reference_S: Any,
    *,
    batch_column: str = "batch",
) -> State:
    """The state with the batches among these samples that it did not have.

    One pass over chunks, none where all batches are known. Old batches and the scale stay.

    Raises:
        BadInput: new batches without a reference sample, which are named.
    """
    is_reference_S = _mask(is_reference_S)
    design = Design(batch, batch_column=batch_column).checked(len(is_reference_S))
    new = tuple(sorted(set(design.batch) - set(state.batches)))
    if not new:
        return state
    means = _reference_means(chunks, design, new, is_reference_S)
    return replace(
        state,
        batches=(*state.batches, *new),
        reference_BG=np.concatenate([state.reference_BG, means]),
    )


def _mask(is_reference_S: Any) -> Bool:
    given = np.asarray(is_reference_S)
    if given.ndim != 1:
        raise BadInput(
            f"has shape {given.shape}, not one value for each sample", where="reference samples"
        )
    if not all(value in (True, False) for value in given.tolist()):
        raise BadInput("is not true or false for each sample", where="reference samples")
    return given.astype(np.bool_)


def _reference_means(
    chunks: Chunks, design: Design, batches: tuple[str, ...], is_reference_S: Bool
) -> F64:
    """(B, G), in one pass; batches without a reference sample are refused before it."""
    code_S = np.where(is_reference_S, design.batch_codes(batches), -1)
    n_B = np.bincount(code_S[code_S >= 0], minlength=len(batches))
    without = [repr(name) for name, n in zip(batches, n_B) if not n]
    if without:
        names = ", ".join(without[:8]) + (", …" if len(without) > 8 else "")
        raise BadInput(
            f"{len(without)} of {len(batches)} batches have no reference sample: {names}",
            where=f"column {design.batch_column!r}",
            do="measure the reference material there, or leave them out",
        )
    sum_BG, seen = np.zeros((len(batches), 0)), 0
    for chunk in chunks():
        if not seen:
            sum_BG = np.zeros((len(batches), chunk.x_SG.shape[1]))
        wanted = np.flatnonzero(code_S[seen : seen + chunk.x_SG.shape[0]] >= 0)
        for rows, x_sG in dense_rows(chunk.x_SG[wanted]):
            np.add.at(sum_BG, code_S[seen + wanted[rows]], x_sG)
        seen += chunk.x_SG.shape[0]
    if seen != len(code_S):
        raise BadInput(f"{len(code_S)} values for {seen} samples", where="reference samples")
    return sum_BG / n_B[:, None]
