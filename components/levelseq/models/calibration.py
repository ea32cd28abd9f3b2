"""From the evidence for a label to the probability that it is right.

Shapes: S observations, F pieces of evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

__all__ = ["Calibration", "auroc", "expected_calibration_error"]

BINS = 10
SIGN = (1, -1)
KNOWN = ((4.0, 0.0, True), (0.0, 0.0, False), (4.0, np.log(10), False))


@dataclass(frozen=True)
class Calibration:
    """A logistic curve.

    Attributes:
        slope: (F,) of the log odds by each piece of evidence: the share's is never below 0, the
            distance's never above.
        intercept: the log odds where the evidence is 0.
    """

    slope: tuple[float, ...]
    intercept: float

    @classmethod
    def fit(cls, evidence: Any, right: Any) -> Calibration:
        """Ridge logistic regression, as Platt's scaling (Guo et al. 2017).

        Args:
            evidence: (S, 2) the share's logit and the distance's log, as `evidence_of` gives them.
            right: (S,) whether the label was right.

        Three answers that need no data are added, which matter where few labels are wrong: an
        undivided vote of near anchors is right, an even one is wrong, and so is one of anchors
        ten times as far as usual. A slope of the wrong sign is taken out: a cell must not gain
        by lying far away.
        """
        evidence = np.concatenate([evidence, [answer[:2] for answer in KNOWN]])
        right = np.concatenate([right, [answer[2] for answer in KNOWN]]).astype(bool)
        used = [0, 1]
        while used:
            centre = evidence[:, used].mean(axis=0)
            scale = np.maximum(evidence[:, used].std(axis=0), 1e-6)
            fitted = LogisticRegression().fit((evidence[:, used] - centre) / scale, right)
            slope = fitted.coef_[0] / scale
            wrong = [i for i, b in zip(used, slope) if b * SIGN[i] < 0]
            if not wrong:
                whole = dict(zip(used, slope))
                intercept = float(fitted.intercept_[0] - (slope * centre).sum())
                return cls((float(whole.get(0, 0.0)), float(whole.get(1, 0.0))), intercept)
            used = [i for i in used if i not in wrong]
        return cls((0.0, 0.0), float(np.log(right.sum() / (~right).sum())))

    def probability(self, evidence: Any) -> Any:
        """(S,) that a label with this evidence is right."""
        return 1 / (1 + np.exp(-(evidence @ np.array(self.slope) + self.intercept)))

    def to_json(self) -> dict[str, Any]:
        """Its coefficients."""
        return {"slope": list(self.slope), "intercept": self.intercept}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Calibration:
        """The curve that `to_json` wrote."""
        return cls(tuple(content["slope"]), content["intercept"])


def expected_calibration_error(confidence: Any, right: Any) -> float:
    """Mean distance of confidence from accuracy over 10 bins of equal mass (Guo et al. 2017).

    Args:
        confidence: (S,) probabilities.
        right: (S,) whether each label was right.
    """
    parts = np.array_split(np.argsort(confidence, kind="stable"), BINS)
    gaps = [
        len(part) * abs(float(np.mean(confidence[part])) - float(np.mean(right[part])))
        for part in parts
        if len(part)
    ]
    return float(np.sum(gaps) / len(right))


def auroc(confidence: Any, right: Any) -> float:
    """That a right label has more confidence than a wrong one; NaN where one kind is missing."""
    if np.all(right) or not np.any(right):
        return float("nan")
    return float(roc_auc_score(right, confidence))
