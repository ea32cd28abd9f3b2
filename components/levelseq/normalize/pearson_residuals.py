"""Analytic Pearson residuals: how far a count is from what its sample and gene expect of it.

Passes over the data: one to fit (sums), one to apply. Memory: a vector of genes and a block of
rows; the result is dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.chunks import Chunks, Matrix, checked, in_memory
from levelseq.normalize.row_blocks import filled

__all__ = ["State", "apply", "fit", "fit_streamed"]

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The frozen expectation.

    Attributes:
        share_G: each gene's share of all counts.
        theta: overdispersion; the variance of a mean m is m + m^2 / theta.
        clip: residuals beyond it are brought to it.
    """

    share_G: F64
    theta: float
    clip: float


def fit(
    x_SG: Matrix,
    *,
    theta: float = 100.0,
    clip: float | None = None,
    samples: Sequence[str] | None = None,
) -> State:
    """Freeze the genes' shares.

    Args:
        x_SG: counts, samples x genes.
        theta: overdispersion of the negative binomial; infinite for Poisson.
        clip: largest residual; None: the root of the number of samples.
        samples: names for messages.

    Raises:
        BadInput: not counts, or none at all.
        BadOption: theta that is not positive, or a negative clip.

    Follows Lause, Berens & Kobak 2021, as `scanpy.experimental.pp.normalize_pearson_residuals`.
    """
    return fit_streamed(in_memory(x_SG, samples), theta=theta, clip=clip)


def fit_streamed(chunks: Chunks, *, theta: float = 100.0, clip: float | None = None) -> State:
    """As `fit`, in one pass over chunks."""
    if not theta > 0:
        raise BadOption(f"is {theta}, not positive", where="theta")
    if clip is not None and not clip >= 0:
        raise BadOption(f"is {clip}, negative", where="clip")
    sum_G, n_samples = np.zeros(0), 0
    for chunk in chunks():
        sums = np.asarray(chunk.x_SG.sum(axis=0, dtype=np.float64)).ravel()
        sum_G = sums if not n_samples else sum_G + sums
        n_samples += chunk.x_SG.shape[0]
    if not sum_G.any():
        raise BadInput("no sample has counts", where="data")
    limit = float(np.sqrt(n_samples)) if clip is None else float(clip)
    return State(sum_G / sum_G.sum(), float(theta), limit)


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Residuals (S, G).

    On the samples of the fit this is scanpy's answer, save that a gene or sample without counts
    gets 0 and not NaN. Row-wise: a new sample is held against the frozen shares and its own
    total. A gene without counts in the fit is 0 in new samples too: nothing is known of it.

    Raises:
        BadInput: not counts, or other genes than in the fit.
    """
    x_SG = checked(x_SG, samples)
    if x_SG.shape[1] != len(state.share_G):
        raise BadInput(f"has {x_SG.shape[1]} genes, the fit had {len(state.share_G)}", where="data")

    def residuals(x_sG: F64, _: slice) -> F64:
        mean_sG = x_sG.sum(axis=1)[:, None] * state.share_G
        variance_sG = mean_sG / state.theta
        variance_sG += 1
        variance_sG *= mean_sG
        np.sqrt(variance_sG, out=variance_sG)
        np.subtract(x_sG, mean_sG, out=mean_sG)
        known = variance_sG > 0
        out = np.divide(mean_sG, variance_sG, out=np.zeros_like(mean_sG), where=known)
        return np.asarray(np.clip(out, -state.clip, state.clip, out=out))

    return filled(x_SG, residuals)
