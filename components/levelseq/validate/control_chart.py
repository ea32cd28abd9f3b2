"""Levey-Jennings charts of gates over runs, with the rules of Westgard et al. (1981).

A run's z says how far its value lies from what the runs before it predict. The first 20 runs
establish mean and standard deviation, which then stay (CLSI C24); until then each run is held
against all before it. With few runs both are uncertain, so that z is the normal quantile of the
t prediction's probability (Quesenberry 1991): under control it is standard normal at any length,
and the rules keep their false-alarm rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from levelseq.validate.gates import Outcome, significant

__all__ = ["FEWEST", "REFERENCE", "RULES", "Chart", "control_chart", "rules_broken", "z_scores"]

# Fewer runs predict almost anything; 20 are what laboratories establish limits on.
FEWEST = 5
REFERENCE = 20

# Rule -> (runs that it looks at, what breaking it speaks for).
RULES = {
    "1_2s": (1, "a run to look at: one in 22 lies there by chance"),
    "1_3s": (1, "a jump or random error"),
    "2_2s": (2, "systematic error"),
    "R_4s": (2, "random error"),
    "4_1s": (4, "systematic error"),
    "10x": (10, "systematic error: the level has moved"),
}
WARNING = "1_2s"
_BANDS = (-3.0, -2.0, 0.0, 2.0, 3.0)

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Chart:
    """A gate's chart as it stands with this run.

    Attributes:
        gate: the gate's name.
        runs: earlier runs with a comparable value.
        z: this run's, or None.
        limits: values at z of -3, -2, 0, 2 and 3, or None.
        rules: those that this run breaks, by Westgard's names.
        outcome: pass, warn (a rule is broken) or not_evaluated.
        reason: one sentence.
    """

    gate: str
    runs: int
    z: float | None
    limits: tuple[float, ...] | None
    rules: tuple[str, ...]
    outcome: Outcome
    reason: str

    @property
    def alarms(self) -> bool:
        """Whether a rule is broken that speaks of an error; 1_2s alone does not."""
        return any(rule != WARNING for rule in self.rules)

    def as_json(self) -> dict[str, Any]:
        """Its entry in `verdict.json`."""
        return {
            "gate": self.gate,
            "runs": self.runs,
            "z": significant(self.z),
            "limits": None if self.limits is None else [significant(v) for v in self.limits],
            "rules": list(self.rules),
            "outcome": self.outcome,
            "reason": self.reason,
        }


def control_chart(
    gate: str, past: Sequence[float], value: float | None, threshold: list[float | None] | None
) -> Chart:
    """The chart of a gate with this run at its end.

    Args:
        gate: the gate's name.
        past: its comparable values on earlier runs, oldest first.
        value: this run's.
        threshold: what is accepted; it says whether a move is towards a failure.
    """
    if value is None:
        return _without(gate, len(past), "This run has no value to chart.")
    if len(past) < FEWEST:
        reason = f"A chart needs {FEWEST} earlier runs of this kind, and there are {len(past)}."
        return _without(gate, len(past), reason)
    z = z_scores([*past, value])
    if np.isnan(z[-1]):
        return _without(gate, len(past), "Earlier runs all have one value: they show no spread.")
    rules = rules_broken(z)
    reason = _reason(gate, value, float(z[-1]), len(past), rules, threshold)
    limits = tuple(float(v) for v in _values_at(np.array(past[:REFERENCE])))
    return Chart(gate, len(past), float(z[-1]), limits, rules, "warn" if rules else "pass", reason)


def z_scores(values: Sequence[float]) -> F64:
    """Each run's z against the runs before it; NaN for the first five and without a spread.

    Args:
        values: one a run, oldest first.
    """
    x = np.asarray(values, dtype=np.float64)
    z = np.full(len(x), np.nan)
    for run in range(FEWEST, len(x)):
        before = x[: min(run, REFERENCE)]
        sd = before.std(ddof=1)
        if sd > 1e-9 * np.abs(before).max():
            t = (x[run] - before.mean()) / (sd * np.sqrt(1 + 1 / len(before)))
            tail = max(float(student.sf(abs(t), len(before) - 1)), 1e-300)
            z[run] = np.copysign(norm.isf(tail), t)
    return z


def rules_broken(z: Sequence[float] | F64) -> tuple[str, ...]:
    """The rules that the last of some runs breaks, in the order of Westgard's paper.

    R_4s compares the last two runs: with one value a run there is no pair of control materials
    within it.

    Args:
        z: of the runs, oldest first; a NaN ends the stretch that the rules look at.
    """
    known = np.asarray(z, dtype=np.float64)
    gaps = np.flatnonzero(np.isnan(known))
    known = known[gaps[-1] + 1 :] if len(gaps) else known
    if len(known) == 0:
        return ()
    side = known * np.sign(known[-1])
    found = {
        "1_2s": side[-1] > 2,
        "1_3s": side[-1] > 3,
        "2_2s": _all(side, 2, 2),
        "R_4s": len(side) > 1 and side[-1] > 2 and side[-2] < -2,
        "4_1s": _all(side, 4, 1),
        "10x": _all(side, 10, 0),
    }
    return tuple(rule for rule, broken in found.items() if broken)


def _all(side: F64, runs: int, limit: float) -> bool:
    """Whether that many last runs all lie beyond a limit on the last one's side."""
    return len(side) >= runs and bool((side[-runs:] > limit).all())


def _values_at(reference: F64) -> F64:
    """The values that have a z of -3, -2, 0, 2 and 3 against some runs."""
    z = np.array(_BANDS)
    t = np.copysign(student.isf(norm.sf(np.abs(z)), len(reference) - 1), z)
    spread = reference.std(ddof=1) * np.sqrt(1 + 1 / len(reference))
    return np.asarray(reference.mean() + t * spread)


def _reason(
    gate: str,
    value: float,
    z: float,
    runs: int,
    rules: tuple[str, ...],
    threshold: list[float | None] | None,
) -> str:
    place = f"{gate} is {value:.3g}, {abs(z):.1f} SD {'above' if z > 0 else 'below'} what"
    sentence = f"{place} {runs} earlier runs predict"
    if not rules:
        return f"{sentence}; no Westgard rule is broken."
    broken = [rule for rule in rules if rule != WARNING] or [WARNING]
    low, high = threshold or [None, None]
    bound = high if z > 0 else low
    way = "" if low is None and high is None else "; away from its limit"
    way = "; towards its limit" if bound is not None else way
    meaning = " and ".join(dict.fromkeys(RULES[rule][1] for rule in broken))
    return f"{sentence}: Westgard {', '.join(broken)} ({meaning}){way}."


def _without(gate: str, runs: int, reason: str) -> Chart:
    return Chart(gate, runs, None, None, (), "not_evaluated", reason)
