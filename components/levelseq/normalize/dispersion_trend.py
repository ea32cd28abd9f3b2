"""The trend of dispersion along mean counts: DESeq2's `estimateDispersionsFit`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadInput, BadOption
from levelseq.normalize import locfit
from levelseq.normalize.c_library import exp, log

__all__ = ["TRENDS", "Trend", "fit"]

F64 = NDArray[np.float64]

TRENDS = ("parametric", "local", "mean")

_LEAST = 1e-8
_TRIM = 0.001
_ROUNDS = 11
_STEPS = 25
_SUBSTITUTED = (
    "the dispersions do not follow extra_poisson / mean + asymptotic, so the trend is a local "
    "regression; ask for trend local or mean to choose"
)


@dataclass(frozen=True)
class Trend:
    """A fitted trend.

    Attributes:
        kind: parametric, local or mean: what was fitted in the end.
        coefficients: asymptotic dispersion and extra Poisson noise, or the mean dispersion; empty
            for local.
        curve: log dispersion along log mean, for local.
        notice: what a user should know; empty: nothing.
    """

    kind: str
    coefficients: F64
    curve: locfit.Curve | None = None
    notice: str = ""

    def at(self, mean: F64) -> F64:
        """Dispersion at mean counts, which are positive."""
        if self.kind == "parametric":
            return np.asarray(self.coefficients[0] + self.coefficients[1] / mean)
        if self.curve is not None:
            return exp(self.curve.at(log(mean)))
        return np.full(np.shape(mean), self.coefficients[0])


def fit(base_mean_G: F64, dispersion_G: F64, kind: str = "parametric") -> Trend:
    """The trend of gene-wise dispersions.

    Args:
        base_mean_G: mean normalized counts.
        dispersion_G: gene-wise dispersions; NaN: without counts, left out.
        kind: parametric, local or mean. Where the parametric one fails, the local one takes its
            place and the trend has a notice, as in DESeq2.

    Raises:
        BadOption: another kind.
        BadInput: no gene varies more than by counting (or, for local, two genes only).

    Follows `DESeq2::estimateDispersionsFit` (Love, Huber & Anders 2014).
    """
    if kind not in TRENDS:
        raise BadOption(f"{kind!r} is none of {', '.join(TRENDS)}", where="--trend")
    # A comparison with NaN is false.
    used = dispersion_G > 100 * _LEAST
    if not used.any():
        raise BadInput(
            "no gene varies more than counting alone makes it vary, so dispersion has no trend",
            where="vst",
            do="check for identical samples, or use log_cpm",
        )
    mean_G, alpha_G = base_mean_G[used], dispersion_G[used]
    if kind == "mean":
        return Trend("mean", np.array([_trimmed_mean(dispersion_G[dispersion_G > 10 * _LEAST])]))
    notice = ""
    if kind == "parametric":
        coefficients = _parametric(mean_G, alpha_G)
        if coefficients is not None:
            return Trend("parametric", coefficients)
        notice = _SUBSTITUTED
    if len(mean_G) == 2:
        raise BadInput(
            "only two genes vary more than counting alone makes them vary, too few for a local "
            "regression",
            where="vst",
            do="use trend mean, or log_cpm",
        )
    curve = locfit.fit(log(mean_G), log(alpha_G), mean_G)
    return Trend("local", np.empty(0), curve, notice)


def _trimmed_mean(values: F64) -> float:
    """R's `mean(x, trim = 0.001)`."""
    low = math.floor(len(values) * _TRIM)
    kept = np.sort(values)[low : len(values) - low]
    return math.fsum(kept) / len(kept)


def _parametric(mean_G: F64, alpha_G: F64) -> F64 | None:
    """Coefficients of a0 + a1 / mean, refitted without outliers until they stay; None: failed."""
    coefficients = np.array([0.1, 1.0])
    for _ in range(_ROUNDS):
        ratio_G = alpha_G / (coefficients[0] + coefficients[1] / mean_G)
        good = (ratio_G > 1e-4) & (ratio_G < 15)
        found, converged = _gamma_model(1 / mean_G[good], alpha_G[good], coefficients)
        if found is None or not (found > 0).all():
            return None
        change = float((np.log(found / coefficients) ** 2).sum())
        coefficients = found
        if change < 1e-6 and converged:
            return coefficients
    return None


def _gamma_model(x_G: F64, y_G: F64, start_2: F64) -> tuple[F64 | None, bool]:
    """Gamma model with identity link, as R's `glm.fit`; None where that would stop.

    Returns:
        coefficients and whether they converged.
    """
    x_G2 = np.stack([np.ones_like(x_G), x_G], axis=1)
    kept_2, mu_G = start_2, x_G2 @ start_2
    if len(y_G) < 2 or not (mu_G > 0).all():
        return None, False
    last = _deviance(y_G, mu_G)
    for _ in range(_STEPS):
        found_2 = _least_squares(x_G2 / mu_G[:, None], y_G / mu_G)
        if found_2 is None:
            return None, False
        mu_G = x_G2 @ found_2
        # The deviance is finite where the expectations are positive.
        for _ in range(_STEPS):
            if (mu_G > 0).all() and math.isfinite(_deviance(y_G, mu_G)):
                break
            found_2 = (found_2 + kept_2) / 2
            mu_G = x_G2 @ found_2
        else:
            return None, False
        deviance = _deviance(y_G, mu_G)
        if abs(deviance - last) / (abs(deviance) + 0.1) < 1e-8:
            return found_2, True
        kept_2, last = found_2, deviance
    return kept_2, False


def _deviance(y_G: F64, mu_G: F64) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(-2 * (np.log(y_G / mu_G) - (y_G - mu_G) / mu_G).sum())


def _least_squares(x_G2: F64, y_G: F64) -> F64 | None:
    """Coefficients, None where the columns are dependent as R's `lm` judges it."""
    q_G2, r_22 = np.linalg.qr(x_G2)
    if abs(r_22[1, 1]) < 1e-11 * np.linalg.norm(x_G2[:, 1]):
        return None
    return np.linalg.solve(r_22, q_G2.T @ y_G)
