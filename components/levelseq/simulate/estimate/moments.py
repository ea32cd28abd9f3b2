"""Moments of one group of like cells: means, dispersions, zeros.

Shapes: S cells, G genes. Counts are scaled to the group's median library.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

__all__ = [
    "MEAN_EDGES",
    "Moments",
    "Trend",
    "dispersion_scatter",
    "dispersion_trend",
    "group_sd",
    "moments",
    "moments_by_mean",
    "robust_sd",
]

Floats = NDArray[np.float64]

MEAN_EDGES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 51.2)


class Moments(NamedTuple):
    """Per gene: mean of scaled counts, its error's variance over mean^2, dispersion, cv2, zeros."""

    mean_G: Floats
    error_G: Floats
    dispersion_G: Floats
    cv2_G: Floats
    zeros_G: Floats


class Trend(NamedTuple):
    """The NB dispersion over the mean: `floor + slope x mean^-power`.

    DESeq2's trend has power 1; in cells of one type it falls more slowly.
    """

    floor: float
    slope: float
    power: float

    def at(self, mean_G: Floats) -> Floats:
        """The trend at some means."""
        return np.asarray(self.floor + self.slope * mean_G**-self.power)


def moments(x_SG: NDArray[Any], totals_S: Floats | None = None) -> Moments:
    """The moments of a group's genes; genes that no cell has get NaN.

    The dispersion is the moment estimator of the negative binomial with size factors, as in
    DESeq2 (`(variance - mean x mean(1 / size factor)) / mean^2`); it may be negative.

    Args:
        x_SG: counts.
        totals_S: the cells' libraries, by default the sums of `x_SG`.
    """
    x_SG = np.asarray(x_SG, dtype=np.float64)
    totals_S = x_SG.sum(axis=1) if totals_S is None else totals_S
    factor_S = totals_S / np.median(totals_S)
    scaled_SG = x_SG / factor_S[:, None]
    mean_G = scaled_SG.mean(axis=0)
    variance_G = scaled_SG.var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cv2_G = variance_G / mean_G**2
        dispersion_G = cv2_G - (1 / factor_S).mean() / mean_G
    return Moments(mean_G, cv2_G / len(x_SG), dispersion_G, cv2_G, (x_SG == 0).mean(axis=0))


def moments_by_mean(of: Moments) -> list[dict[str, float]]:
    """Medians of squared CV, dispersion and zeros of the genes between `MEAN_EDGES`."""
    rows = []
    for low, high in pairwise(MEAN_EDGES):
        some = (of.mean_G >= low) & (of.mean_G < high)
        if some.any():
            rows.append(
                {
                    "low": low,
                    "high": high,
                    "genes": int(some.sum()),
                    "mean": float(np.median(of.mean_G[some])),
                    "cv2": float(np.median(of.cv2_G[some])),
                    "dispersion": float(np.median(of.dispersion_G[some])),
                    "zeros": float(np.median(of.zeros_G[some])),
                }
            )
    return rows


def dispersion_trend(rows: list[dict[str, float]]) -> Trend:
    """The trend through the rows' dispersions, least squares on logs."""
    mean = np.array([row["mean"] for row in rows])
    log_dispersion = np.log([row["dispersion"] for row in rows])

    def residuals(logs: Floats) -> Floats:
        return np.asarray(np.log(Trend(*np.exp(logs)).at(mean)) - log_dispersion)

    return Trend(*np.exp(least_squares(residuals, np.log([0.1, 0.5, 1.0])).x).tolist())


def dispersion_scatter(of: Moments, totals_S: Floats, trend: Trend) -> float:
    """Sd over genes of the log dispersion around its trend, without the estimator's own error.

    The error is that of genes drawn exactly on the trend, as many, with the same libraries.
    """
    some = (of.mean_G >= 0.8) & (of.mean_G < MEAN_EDGES[-1])
    mean_G = of.mean_G[some]
    trend_G = trend.at(mean_G)
    rng = np.random.default_rng(0)
    factor_S = totals_S / np.median(totals_S)
    rate_SG = (
        mean_G * factor_S[:, None] * rng.gamma(1 / trend_G, trend_G, (len(totals_S), some.sum()))
    )
    drawn = moments(rng.poisson(rate_SG), totals_S)
    observed = _log_ratio_sd(of.dispersion_G[some], trend_G)
    error = _log_ratio_sd(drawn.dispersion_G, trend_G)
    return float(np.sqrt(max(0.0, observed**2 - error**2)))


def _log_ratio_sd(dispersion_G: Floats, trend_G: Floats) -> float:
    return robust_sd(np.log(np.maximum(dispersion_G / trend_G, 0.01)))


def robust_sd(values: Floats) -> float:
    """The sd of a normal with the values' median absolute deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def group_sd(values_S: Floats, groups: list[NDArray[np.int64]]) -> float:
    """The sd inside groups, pooled."""
    squares = sum(((values_S[g] - values_S[g].mean()) ** 2).sum() for g in groups)
    return float(np.sqrt(squares / sum(len(g) - 1 for g in groups)))
