"""Size factors by turns of dispersions and maximum likelihood: DESeq2's `type="iterate"`.

It is defined where every gene has a zero. Passes over the data: one to fit, one to apply. Memory:
all counts, and some arrays of their size, since each step needs all of them; beyond some thousand
samples poscounts does the same work row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from levelseq.errors import BadInput
from levelseq.normalize import dispersion_trend
from levelseq.normalize.chunks import Chunks, Matrix, as_dense, dense_rows, in_memory
from levelseq.normalize.dispersion import final_dispersions, gene_wise_dispersions
from levelseq.normalize.dispersion_means import LEAST_EXPECTED, Model
from levelseq.normalize.fitted import Fitted, Measured
from levelseq.normalize.iterate_likelihood import Likelihood, best_log_sizes

__all__ = ["State", "apply", "apply_streamed", "fit", "fit_streamed", "fitted", "measured"]

F64 = NDArray[np.float64]

_TURNS = 10
_SETTLED = 1e-4
_LBFGS: Any = {"maxcor": 5, "ftol": 1e7 * np.finfo(float).eps, "gtol": 0.0, "maxiter": 100}
_DO = "use poscounts"


@dataclass(frozen=True)
class State:
    """The frozen reference.

    Attributes:
        mean_G: mean normalized counts; 0 for a gene that size factors do not rest on.
        dispersion_G: dispersions, 0 for such a gene.
        log_scale: mean log of what the fit's samples get one by one, taken from each.
    """

    mean_G: F64
    dispersion_G: F64
    log_scale: float


def fit(x_SG: Matrix, samples: Sequence[str] | None = None) -> State:
    """Means and dispersions of the genes, by turns with size factors.

    Args:
        x_SG: counts, samples x genes, dense or sparse.
        samples: names for messages.

    Raises:
        BadInput: a sample has no counts, fewer than two samples, no gene varies more than by
            counting, or the turns do not settle.

    Follows `DESeq2::estimateSizeFactors(dds, type="iterate")` (Love, Huber & Anders 2014).
    """
    return fit_streamed(in_memory(x_SG, samples))


def apply(x_SG: Matrix, state: State, samples: Sequence[str] | None = None) -> F64:
    """Size factors (S,) of samples one by one, the likeliest under the frozen genes.

    DESeq2 has no such thing: its answer for the fit's samples, which `fitted` gives, is found for
    all of them together and stops a little before the maximum, so that the two agree to about a
    thousandth.

    Raises:
        BadInput: a sample has no counts of the frozen genes.
    """
    return apply_streamed(in_memory(x_SG, samples), state)


def fit_streamed(chunks: Chunks) -> State:
    """As `fit`; the chunks are gathered in memory."""
    return fitted(chunks).state


def apply_streamed(chunks: Chunks, state: State) -> F64:
    """As `apply`, in one pass over chunks."""
    return measured(chunks, state).native_S


def fitted(chunks: Chunks) -> Fitted[State]:
    """The state, and DESeq2's size factors of the fit's samples."""
    x_GS, library_S = _gathered(chunks)
    used = x_GS.any(axis=1)
    y_GS = np.ascontiguousarray(x_GS[used])
    size_S = np.ones(y_GS.shape[1])
    for turn in range(_TURNS):
        before_S = np.log(size_S)
        likelihood = _likelihood(y_GS, size_S)
        size_S = _likeliest(likelihood, before_S)
        if turn and float(((before_S - np.log(size_S)) ** 2).sum()) < _SETTLED:
            break
    else:
        raise BadInput("the size factors do not settle in ten turns", where="iterate", do=_DO)
    kept = likelihood.kept(np.log(size_S))
    mean_G, dispersion_G = np.zeros(len(x_GS)), np.zeros(len(x_GS))
    places = np.flatnonzero(used)[kept]
    mean_G[places] = (y_GS[kept] / size_S).mean(axis=1)
    dispersion_G[places] = likelihood.alpha_G[kept]
    alone_S = best_log_sizes(np.ascontiguousarray(x_GS.T), mean_G, dispersion_G)
    return Fitted(State(mean_G, dispersion_G, float(alone_S.mean())), size_S, library_S)


def measured(chunks: Chunks, state: State) -> Measured:
    """Size factors and libraries of samples, in one pass."""
    logs, libraries = [], []
    rest_on = np.flatnonzero(state.mean_G)
    for chunk in chunks():
        for rows, x_SG in dense_rows(chunk.x_SG):
            mine_SG = np.ascontiguousarray(x_SG[:, rest_on])
            if not mine_SG.any(axis=1).all():
                row = rows.start + int(np.argmin(mine_SG.any(axis=1)))
                raise BadInput(
                    "has no counts of any gene that the size factors rest on",
                    where=f"sample {chunk.samples[row]}",
                    do="leave the sample out",
                )
            means, dispersions = state.mean_G[rest_on], state.dispersion_G[rest_on]
            logs.append(best_log_sizes(mine_SG, means, dispersions))
            libraries.append(x_SG.sum(axis=1))
    if not logs:
        raise BadInput("there are no samples", where="iterate")
    return Measured(np.exp(np.concatenate(logs) - state.log_scale), np.concatenate(libraries))


def _gathered(chunks: Chunks) -> tuple[F64, F64]:
    """All counts, genes x samples, and libraries."""
    parts = []
    for chunk in chunks():
        x_SG = as_dense(chunk.x_SG)
        if not x_SG.any(axis=1).all():
            name = chunk.samples[int(np.argmin(x_SG.any(axis=1)))]
            raise BadInput("has no counts", where=f"sample {name}", do="leave the sample out")
        if (x_SG != np.floor(x_SG)).any():
            name = chunk.samples[int(np.argmax((x_SG != np.floor(x_SG)).any(axis=1)))]
            raise BadInput("a count is not a whole number", where=f"sample {name}")
        parts.append(x_SG)
    if not parts:
        raise BadInput("there are no samples", where="iterate")
    x_GS = np.ascontiguousarray(np.concatenate(parts).T)
    return x_GS, x_GS.sum(axis=0)


def _likelihood(y_GS: F64, size_S: F64) -> Likelihood:
    """The likelihood of size factors, with means and dispersions under the last ones."""
    model = Model.of(size_S)
    found = gene_wise_dispersions(y_GS, size_S)
    trend = dispersion_trend.fit(found.base_mean_G, found.dispersion_G, "mean")
    mu_GS = np.maximum(model.linear(y_GS / size_S) * size_S, LEAST_EXPECTED)
    trend_G = trend.at(found.base_mean_G)
    alpha_G = final_dispersions(y_GS, mu_GS, found.dispersion_G, trend_G, model)
    return Likelihood(y_GS, mu_GS / size_S, alpha_G)


def _likeliest(likelihood: Likelihood, start_S: F64) -> F64:
    """Size factors with geometric mean 1 that maximize the likelihood, by R's `optim` settings."""

    def lack(p_S: F64) -> float:
        return -likelihood.at(p_S)

    def slope(p_S: F64) -> F64:
        return -likelihood.gradient(p_S)

    found = minimize(lack, start_S, jac=slope, method="L-BFGS-B", options=_LBFGS)
    if not found.success:
        raise BadInput("the search for size factors does not settle", where="iterate", do=_DO)
    return np.asarray(np.exp(found.x - found.x.mean()))
