"""Confidence: the probability that labels would find a cohort levelled, from evidence without any.

What it speaks of. By labels that the run has not seen (or, where the simulator planted them, its
truth), all of this holds:

- mixed: within types, neighbourhoods mix batches (CiLISI, Andreatta et al. 2024) to .8 of what
  chance would give, or two fifths of the way there from unintegrated are gone;
- matched: of an observation's 15 nearest neighbours in other batches no smaller a share is of its
  type than unintegrated, by more than .05 on the mean over types or .1 of any one type;
- apart: the same within its batch, so that no type is harder to tell from the others;
- kept: where a condition is named, log fold changes correlate with the true ones at .9 of what
  the counts' own within batches do, their size is within .3 of it, and by at most .1 fewer of its
  neighbours within the batch are of an observation's type and condition.

How it is told. Each piece of evidence counts by what it falls short of the median of levellings
that were right; better than that earns nothing, so that one good piece does not make up for a bad
one. A ridge logistic curve over the shortfalls (Platt's scaling, as Guo et al. 2017) gives the
probability; a piece whose slope had the wrong sign is left out. `confidence.json` holds the curve,
written by `make bench-cohort-confidence`.

When it is not told. Where the calibration says nothing of such a cohort: bulk, one batch, evidence
that could not be measured or was measured by another version of a metric, evidence outside the
range (each piece, and how many batches and observations there are) or farther from the
calibration's centre (Mahalanobis) than 99 % of it; and where the probability is too near a coin's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from levelseq.validate.confidence_curve import Calibrated, beyond, words
from levelseq.validate.gates import significant

__all__ = ["Confidence", "calibrated", "confidence"]

Json = dict[str, Any]

_RESOURCE = "confidence.json"


@dataclass(frozen=True)
class Confidence:
    """What can be said of one cohort.

    Attributes:
        probability: that it is levelled, by labels that the run has not seen; None: not told.
        because: a sentence: what the number means, or why there is none.
        evidence: what it rests on; None where it could not be measured.
        figures: of the calibration: how many levellings, how reliable.
    """

    probability: float | None
    because: str
    evidence: dict[str, float | None]
    figures: Json = field(default_factory=dict)

    def as_json(self) -> Json:
        """For the verdict, numbers to six significant digits."""
        return {
            "probability": significant(self.probability),
            "because": self.because,
            "evidence": {name: significant(value) for name, value in self.evidence.items()},
            "calibrated": self.figures,
        }


@cache
def calibrated() -> Calibrated:
    """The calibration that levelseq comes with."""
    text = files(__package__).joinpath(_RESOURCE).read_text(encoding="utf-8")
    return Calibrated.from_json(json.loads(text))


def confidence(
    evidence: Mapping[str, float | None],
    metrics: Mapping[str, str],
    problem: str = "",
    by: Calibrated | None = None,
) -> Confidence:
    """The probability for one cohort, or why there is none.

    Args:
        evidence: by name, NaN or None where it could not be measured.
        metrics: name -> version of the metrics that it was measured by.
        problem: why nothing can be told of such a cohort, whatever the evidence.
        by: the calibration; levelseq's own when left out.
    """
    by = by or calibrated()
    found = {name: significant(evidence.get(name)) for name in (*by.names, *by.scope)}
    lacking = [words(name) for name, value in found.items() if value is None]
    other = sorted(name for name, own in by.metrics.items() if metrics.get(name) != own)
    if not problem and lacking:
        problem = f"{' and '.join(lacking)} could not be measured"
    if not problem and other:
        problem = f"{', '.join(other)} was calibrated by another version of the metric"
    if problem:
        return Confidence(None, f"None can be told: {problem}.", found, by.figures)
    values = np.array([found[name] for name in by.names], dtype=float)
    outside = by.outside(values) or _out_of_scope(found, by.scope)
    if outside:
        because = f"None can be told: the calibration saw no such cohort ({outside})."
        return Confidence(None, because, found, by.figures)
    p = float(by.probability(values[None])[0])
    if by.coin[0] < p < by.coin[1]:
        because = (
            f"None is told: of cohorts with evidence like this {_of_100(p)}; it takes"
            f" {100 * by.coin[1]:.0f} or more, or {100 * by.coin[0]:.0f} or fewer, to rest on."
        )
        return Confidence(None, because, found, by.figures)
    because = (
        f"Of cohorts with evidence like this {_of_100(p)} by labels that the run had not seen."
    )
    return Confidence(p, because, found, by.figures)


def _out_of_scope(
    found: Mapping[str, float | None], scope: Mapping[str, tuple[float, float]]
) -> str:
    for name, (low, high) in scope.items():
        value = found[name]
        if value is not None and not low <= value <= high:
            return beyond(name, value, low, high)
    return ""


def _of_100(p: float) -> str:
    return f"{min(99, max(1, round(100 * p)))} of 100 were right"
