"""Likelihood of all samples' size factors at once, without the genes that fit worst."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from levelseq.normalize.compiled import blocks, in_threads, kernel
from levelseq.normalize.gamma_functions import lgamma

__all__ = ["Likelihood", "best_log_sizes"]

F64 = NDArray[np.float64]

_WORST = 0.05
_STEP = 1e-3
_BLOCK_ELEMENTS = 1 << 20
_NEWTON_STEPS = 100
_CLOSE = 1e-13


class Likelihood:
    """Negative binomial log likelihood of log size factors, which count less their mean.

    Args:
        y_GS: counts, of genes that have some.
        mean_GS: expected counts at size factor 1.
        alpha_G: dispersions.
    """

    def __init__(self, y_GS: F64, mean_GS: F64, alpha_G: F64) -> None:
        self.y_GS, self.mean_GS, self.alpha_G = y_GS, mean_GS, alpha_G
        self.constant_GS = np.empty_like(y_GS)
        step = max(1, _BLOCK_ELEMENTS // y_GS.shape[1])
        self._parts = blocks(len(y_GS), step)
        in_threads(self._constants, self._parts)

    def _constants(self, genes: slice) -> None:
        _constants(self.y_GS[genes], self.alpha_G[genes], self.constant_GS[genes])

    def at(self, p_S: F64) -> float:
        """The likelihood, without the twentieth of genes that has the least."""
        return float(_without_worst(self._terms(p_S - p_S.mean()).sum(axis=1)[:, None])[0])

    def kept(self, p_S: F64) -> NDArray[np.bool_]:
        """(G,): the genes that count at these log size factors."""
        gene_G = self._terms(p_S - p_S.mean()).sum(axis=1)
        return np.asarray(gene_G > np.quantile(gene_G, _WORST))

    def gradient(self, p_S: F64) -> F64:
        """Central differences with R's step of 0.001 in each log size factor.

        A step in one factor moves the mean, and by it all others alike: so two evaluations for
        each sign serve all samples.
        """
        n = len(p_S)
        centred_S = p_S - p_S.mean()
        ends = []
        for sign in (1.0, -1.0):
            others_GS = self._terms(centred_S - sign * _STEP / n)
            own_GS = self._terms(centred_S + sign * (_STEP - _STEP / n))
            own_GS -= others_GS
            own_GS += others_GS.sum(axis=1)[:, None]
            ends.append(_without_worst(own_GS))
        return np.asarray((ends[0] - ends[1]) / (2 * _STEP))

    def _terms(self, log_size_S: F64) -> F64:
        """(G, S): log likelihood of each count."""
        out_GS, size_S = np.empty_like(self.y_GS), np.exp(log_size_S)

        def work(genes: slice) -> None:
            given = (self.y_GS[genes], self.mean_GS[genes], self.constant_GS[genes])
            _terms(*given, self.alpha_G[genes], size_S, out_GS[genes])

        in_threads(work, self._parts)
        return out_GS


def _without_worst(gene_GS: F64) -> F64:
    """(S,): sums over the genes above the quantile that parts the worst, in each column."""
    limit_S = np.quantile(gene_GS, _WORST, axis=0)
    return np.asarray(np.where(gene_GS > limit_S, gene_GS, 0.0).sum(axis=0))


@kernel
def _constants(y_GS: F64, alpha_G: F64, out_GS: F64) -> None:
    """The part of each count's log likelihood that its expectation does not change."""
    for g in range(len(y_GS)):
        r = 1.0 / alpha_G[g]
        lg = lgamma(r)
        for s in range(y_GS.shape[1]):
            y = y_GS[g, s]
            if y == 0.0:
                out_GS[g, s] = 0.0
            elif r > 1e6 * y:
                # log of r (r + 1) ... (r + y - 1) / r^y, which the difference would lose.
                out_GS[g, s] = math.log(r) * y + y * (y - 1.0) / (2.0 * r) - lgamma(y + 1.0)
            else:
                out_GS[g, s] = lgamma(y + r) - lg - lgamma(y + 1.0)


@kernel
def _terms(
    y_GS: F64, mean_GS: F64, constant_GS: F64, alpha_G: F64, size_S: F64, out_GS: F64
) -> None:
    for g in range(len(y_GS)):
        alpha = alpha_G[g]
        for s in range(len(size_S)):
            z = mean_GS[g, s] * size_S[s] * alpha
            term = constant_GS[g, s] - math.log1p(z) / alpha
            if y_GS[g, s] > 0.0:
                term += y_GS[g, s] * math.log(z / (1.0 + z))
            out_GS[g, s] = term


@kernel
def best_log_sizes(x_SG: F64, mean_G: F64, alpha_G: F64) -> F64:
    """Log size factors (S,), each the likeliest for its sample; genes of mean 0 do not count.

    Newton's method; the likelihood is concave in the log of a size factor. Every sample must have
    a count of a gene that does.
    """
    out_S = np.empty(len(x_SG))
    for s in range(len(x_SG)):
        total, expected = 0.0, 0.0
        for g in range(len(mean_G)):
            if mean_G[g] > 0.0:
                total += x_SG[s, g]
                expected += mean_G[g]
        p = math.log(total / expected)
        for _ in range(_NEWTON_STEPS):
            size = math.exp(p)
            slope, bend = 0.0, 0.0
            for g in range(len(mean_G)):
                if mean_G[g] > 0.0:
                    mu = mean_G[g] * size
                    q = 1.0 + mu * alpha_G[g]
                    slope += (x_SG[s, g] - mu) / q
                    bend += mu * (1.0 + x_SG[s, g] * alpha_G[g]) / (q * q)
            step = min(max(slope / bend, -2.0), 2.0)
            p += step
            if abs(step) < _CLOSE:
                break
        out_S[s] = p
    return out_S
