"""`make bench-cohort-confidence`: from evidence and outcomes to the calibration and its figures."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from cohort_confidence_ways import WRONG
from sklearn.metrics import roc_auc_score

from levelseq.validate.confidence_curve import Calibrated
from levelseq.validate.confidence_evidence import NAMES, SCOPE

SIMULATED = "simulated"
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
MOST_ERRORS = 0.1
AS_THEY_COME = ("levelled", "few steps", "classical", "ComBat", "centred")
# By how much fewer of a cell's neighbours may be of its type: on the mean over types, of one type.
MEAN_LOSS, TYPE_LOSS = 0.05, 0.1


def outcome(table: pd.DataFrame) -> pd.DataFrame:
    """Each requirement that `levelseq.validate.confidence` names, met or not; `right`: all are.

    What cannot be measured (a type in one batch, no condition) is no objection.
    """
    o = {name[2:]: table[name] for name in table if name.startswith("o.")}
    way = o["mixed_at_random"] - o["mixed_before"]
    asked = np.minimum(0.8 * o["mixed_at_random"], o["mixed_before"] + 0.4 * way)
    found = pd.DataFrame({"mixed": ~(o["mixed"] < asked)})
    for name, what in (("matched", "elsewhere"), ("apart", "within")):
        mean = o[what] < o[f"{what}_before"] - MEAN_LOSS
        found[name] = ~mean & ~(o[f"{what}_worst"] < -TYPE_LOSS)
    changed = (o["changes"] < 0.9 * o["changes_known"]) | ((o["changes_size"] - 1).abs() > 0.3)
    told = (table["e.condition"] == 1) & (o["told"] < o["told_before"] - TYPE_LOSS)
    found["kept"] = ~(o["changes"].notna() & changed) & ~told
    found["not made of labels"] = ~table["way"].isin(WRONG)
    return found.assign(right=found.all(axis=1))


class Judged(NamedTuple):
    """Levellings whose evidence is whole.

    Attributes:
        table: a row each: set, study, way, verdict, `right`.
        evidence: (R, F).
        weight: each study weighs the same, half of it what was not spoilt on purpose.
    """

    table: pd.DataFrame
    evidence: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame) -> Judged:
        """Of the rows of a table that lack nothing."""
        evidence = table[[f"e.{name}" for name in NAMES]].to_numpy(dtype=float)
        whole = np.isfinite(evidence).all(axis=1)
        table = table.loc[whole].reset_index(drop=True)
        table = table.assign(right=outcome(table)["right"])
        return cls(table, evidence[whole], _weights(table))

    def where(self, rows: Any) -> Judged:
        """Some of them."""
        rows = np.asarray(rows)
        table = self.table.loc[rows].reset_index(drop=True)
        return Judged(table, self.evidence[rows], self.weight[rows])

    @property
    def right(self) -> np.ndarray:
        """(R,) outcomes."""
        return self.table["right"].to_numpy(dtype=bool)

    def fit(self) -> Calibrated:
        """The curve of all of them."""
        return Calibrated.fit(NAMES, self.evidence, self.right, self.weight)

    def scope(self) -> dict[str, tuple[float, float]]:
        """Range of what is no evidence, yet has to be like what was seen."""
        columns = {name: self.table[f"e.{name}"] for name in SCOPE}
        return {name: (float(v.min()), float(v.max())) for name, v in columns.items()}


def _weights(table: pd.DataFrame) -> np.ndarray:
    """(R,) of mean 1."""
    spoilt = ~table["way"].isin(AS_THEY_COME)
    size = table.assign(spoilt=spoilt).groupby(["set", "study", "spoilt"])["way"].transform("size")
    return np.asarray(1 / size * len(size) / (1 / size).sum())


def left_out(judged: Judged, group: np.ndarray, also: np.ndarray | None = None) -> np.ndarray:
    """(R,) probabilities, each by a curve that has not seen its group; NaN out of its range.

    Args:
        judged: levellings.
        group: (R,) what is left out together.
        also: (R,) rows that every curve is fitted to nothing of.
    """
    p = np.full(len(group), np.nan)
    for name in np.unique(group):
        rows = group == name
        fitted = judged.where(~rows if also is None else ~rows & ~also).fit()
        p[rows] = asked(fitted, judged.evidence[rows])
    return p


def asked(fitted: Calibrated, evidence: np.ndarray) -> np.ndarray:
    """(R,) probabilities; NaN where the evidence is out of the calibration's range."""
    inside = [not fitted.outside(row) for row in evidence]
    return np.where(inside, fitted.probability(evidence), np.nan)


def study_of(judged: Judged) -> np.ndarray:
    """(R,) name of the study, over sets."""
    return (judged.table["set"] + " " + judged.table["study"]).to_numpy(dtype=str)


class Figures(NamedTuple):
    """How good probabilities are over what is in range; what lies in `coin` is not answered."""

    judged: int
    base: float
    auroc: float
    ece: float
    brier: float
    in_range: float
    answered: float
    error: float


def figures(p: np.ndarray, judged: Judged, coin: tuple[float, float]) -> Figures:
    """Of probabilities, NaN where none is told; every figure by the levellings' weights."""
    known = np.isfinite(p)
    told = known & ~((p > coin[0]) & (p < coin[1]))
    q, r, w = p[known], judged.right[known], judged.weight
    wrong = (p > 0.5) != judged.right
    return Figures(
        len(p),
        mean(judged.right, w),
        area(q, r, w[known]),
        calibration_error(q, r, w[known]),
        mean((q - r) ** 2, w[known]),
        mean(known, w),
        mean(told, w),
        mean(wrong[told], w[told]),
    )


def mean(values: np.ndarray, weight: np.ndarray) -> float:
    """Weighted; NaN of nothing."""
    return float(np.average(values, weights=weight)) if len(values) else float("nan")


def area(p: np.ndarray, right: np.ndarray, weight: np.ndarray) -> float:
    """Weighted area under the curve; NaN where one kind is missing."""
    if right.all() or not right.any():
        return float("nan")
    return float(roc_auc_score(right, p, sample_weight=weight))


def calibration_error(p: np.ndarray, right: np.ndarray, weight: np.ndarray) -> float:
    """ECE: mean distance of confidence from accuracy, 10 bins of equal mass (Guo et al. 2017)."""
    if not len(p):
        return float("nan")
    order = np.argsort(p, kind="stable")
    bins = np.minimum((10 * weight[order].cumsum() / weight.sum() - 1e-9).astype(int), 9)
    parts = [order[bins == b] for b in range(10) if (bins == b).any()]
    gaps = [
        weight[part].sum() * abs(mean(p[part], weight[part]) - mean(right[part], weight[part]))
        for part in parts
    ]
    return float(np.sum(gaps) / weight.sum())


def coin_of(p: np.ndarray, judged: Judged) -> tuple[float, float]:
    """The narrowest band around .5 outside of which at most a tenth of the answers is wrong."""
    for half in np.arange(0.0, 0.46, 0.01):
        coin = (round(0.5 - half, 2), round(0.5 + half, 2))
        if not figures(p, judged, coin).error > MOST_ERRORS:
            return coin
    return (0.05, 0.95)


def risk_coverage(p: np.ndarray, judged: Judged) -> list[tuple[float, float, float]]:
    """Half width of the band around .5, share answered, share of the answers that is wrong."""
    found = []
    for half in (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.4):
        own = figures(p, judged, (0.5 - half, 0.5 + half))
        found.append((half, own.answered, own.error))
    return found


def reliability(p: np.ndarray, judged: Judged) -> list[dict[str, float]]:
    """Of each bin of probabilities: its bounds, the mean, the share right, how many."""
    found = []
    for low, high in pairwise(BINS):
        rows = (p >= low) & ((p < high) if high < 1 else (p <= high))
        if rows.any():
            w = judged.weight[rows]
            said, share = mean(p[rows], w), mean(judged.right[rows], w)
            entry = {"low": low, "high": high, "said": round(said, 4), "right": round(share, 4)}
            found.append(entry | {"judged": int(rows.sum())})
    return found


def by_verdict(judged: Judged) -> dict[str, float]:
    """What release and refuse are worth: shares right, and the best that two numbers could do."""
    released = (judged.table["verdict"] == "release").to_numpy()
    right, w = judged.right, judged.weight
    of_released, of_refused = (mean(right[rows], w[rows]) for rows in (released, ~released))
    p = np.where(released, of_released, of_refused)
    return {
        "right of released": of_released,
        "wrong of refused": 1 - of_refused,
        "auroc": area(released.astype(float), right, w),
        "brier": mean((p - right) ** 2, w),
        "error": mean(released != right, w),
    }
