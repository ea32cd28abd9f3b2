"""A logistic curve over what evidence falls short of, and the range of what it was fitted to.

Shapes: R levellings of the calibration, F pieces of evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.gates import significant

__all__ = ["Calibrated", "beyond", "words"]

F64 = NDArray[np.float64]
Json = dict[str, Any]

# Of the calibration this share lies nearer its centre than a cohort that may still be spoken of.
_WITHIN = 0.99
# The weaker the penalty the nearer the slopes to those of most likelihood; scikit-learn's usual.
_RIDGE = 1.0
_TINY = 1e-9


@dataclass(frozen=True)
class Calibrated:
    """A logistic curve over shortfalls, and the range of what it was fitted to.

    Attributes:
        names: the evidence, F pieces.
        knot_F: the median of levellings that were right: what is better earns nothing.
        slope_F: of the log odds by each shortfall, 0 or below.
        intercept: the log odds where nothing falls short.
        low_F, high_F: range of the evidence.
        mean_F, precision_FF: its centre and inverse covariance.
        limit: the largest distance from the centre.
        scope: name -> range of what is no evidence, yet has to be like the calibration's.
        coin: between these two probabilities none is told.
        metrics: name -> version of the metrics that the evidence was measured by.
        figures: how reliable it is, for the verdict.
    """

    names: tuple[str, ...]
    knot_F: F64
    slope_F: F64
    intercept: float
    low_F: F64
    high_F: F64
    mean_F: F64
    precision_FF: F64
    limit: float
    scope: dict[str, tuple[float, float]] = field(default_factory=dict)
    coin: tuple[float, float] = (0.5, 0.5)
    metrics: dict[str, str] = field(default_factory=dict)
    figures: Json = field(default_factory=dict)

    @classmethod
    def fit(
        cls, names: tuple[str, ...], evidence_RF: F64, right_R: F64, weight_R: F64
    ) -> Calibrated:
        """The curve of most likelihood under a ridge.

        Args:
            names: of the evidence.
            evidence_RF: more is better, in each column.
            right_R: whether labels found it levelled; both kinds have to be there.
            weight_R: how much each levelling counts.
        """
        from sklearn.linear_model import LogisticRegression

        right = np.asarray(right_R, dtype=bool)
        knot = np.median(evidence_RF[right], axis=0)
        short = np.maximum(knot - evidence_RF, 0.0)
        scale = np.maximum(short.std(axis=0), _TINY)
        slope, used = np.zeros(len(names)), np.arange(len(names))
        while True:
            model = LogisticRegression(C=1 / _RIDGE, max_iter=1000)
            model.fit(short[:, used] / scale[used], right, sample_weight=weight_R)
            found = model.coef_[0] / scale[used]
            if (found <= 0).all():
                break
            used = used[found <= 0]
        slope[used] = found
        mean = evidence_RF.mean(axis=0)
        precision = np.asarray(np.linalg.pinv(np.cov(evidence_RF, rowvar=False)), dtype=np.float64)
        away = _distance(evidence_RF - mean, precision)
        low, high = evidence_RF.min(axis=0), evidence_RF.max(axis=0)
        limit = float(np.quantile(away, _WITHIN))
        intercept = float(model.intercept_[0])
        return cls(tuple(names), knot, slope, intercept, low, high, mean, precision, limit)

    def probability(self, evidence_RF: F64) -> F64:
        """(R,) that levellings with such evidence are right."""
        short = np.maximum(self.knot_F - evidence_RF, 0.0)
        return np.asarray(1 / (1 + np.exp(-(self.intercept + short @ self.slope_F))))

    def outside(self, evidence_F: F64) -> str:
        """Which evidence is out of the calibration's range, in words; empty where none is."""
        for name, value, low, high in zip(self.names, evidence_F, self.low_F, self.high_F):
            if not low <= value <= high:
                return beyond(name, value, low, high)
        away = float(_distance((evidence_F - self.mean_F)[None], self.precision_FF)[0])
        return "its evidence does not occur together" if away > self.limit else ""

    def to_json(self) -> Json:
        """Its entry in `confidence.json`."""
        return {
            "evidence": {
                name: {"knot": k, "slope": s, "low": low, "high": high, "mean": m}
                for name, k, s, low, high, m in zip(
                    self.names, *(_listed(getattr(self, f"{each}_F")) for each in _COLUMNS)
                )
            },
            "intercept": significant(self.intercept),
            "precision": [_listed(row) for row in self.precision_FF],
            "limit": significant(self.limit),
            "scope": {name: list(ends) for name, ends in self.scope.items()},
            "coin": list(self.coin),
            "metrics": self.metrics,
            "figures": self.figures,
        }

    @classmethod
    def from_json(cls, content: Json) -> Calibrated:
        """What `to_json` wrote."""
        of = content["evidence"]
        columns = (np.array([each[c] for each in of.values()], dtype=float) for c in _COLUMNS)
        knot, slope, low, high, mean = columns
        precision = np.array(content["precision"], dtype=float)
        return cls(
            *(tuple(of), knot, slope, content["intercept"], low, high, mean, precision),
            content["limit"],
            {name: (low, high) for name, (low, high) in content["scope"].items()},
            (content["coin"][0], content["coin"][1]),
            content["metrics"],
            content["figures"],
        )


_COLUMNS = ("knot", "slope", "low", "high", "mean")


def beyond(name: str, value: float, low: float, high: float) -> str:
    """A value out of its range, in words."""
    return f"{words(name)} is {value:.3g}, and was {low:.3g} to {high:.3g}"


def words(name: str) -> str:
    """A name without underscores."""
    return name.replace("_", " ")


def _listed(values: F64) -> list[float | None]:
    return [significant(float(value), 8) for value in values]


def _distance(x_RF: F64, precision_FF: F64) -> F64:
    """(R,) Mahalanobis'."""
    return np.asarray(np.sqrt(np.maximum(np.einsum("rf,fg,rg->r", x_RF, precision_FF, x_RF), 0)))
