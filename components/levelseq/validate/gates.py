"""Gates: a measured value, what is accepted, an outcome and the reason.

a gate of                         fails              warns
mixing, conservation, signature,
reference, governance             data are refused   named in the reasons
drift                             champion is
                                  recalibrated       named in the reasons
consistency, generalization       never              named in the reasons

Of a model that was trained against an adversary, warnings of conservation, signature and governance
refuse the data too (`adversarial`).

What becomes of the model follows from these outcomes: see the table in
`levelseq.recalibrate.decision`.
Control charts warn; they decide nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from levelseq.validate.jackknife import Interval

__all__ = [
    "FAMILIES",
    "REFUSING",
    "Gate",
    "Limits",
    "Outcome",
    "judge",
    "judge_soundly",
    "not_evaluated",
    "significant",
]

Outcome = Literal["pass", "warn", "fail", "not_evaluated"]
Range = tuple[float | None, float | None]

# The gravest first; drift judges the model, generalization tells what the next one may expect.
FAMILIES = (
    *("reference", "signature", "governance", "conservation", "mixing"),
    *("drift", "consistency", "generalization"),
)
REFUSING = FAMILIES[:5]
"""Those of which one failed gate refuses the data."""


@dataclass(frozen=True)
class Gate:
    """One gate of a verdict.

    Attributes:
        name: `family.measure`.
        value: what was measured, or None.
        threshold: [least, most] that is accepted, None where it is open; or None.
        outcome: pass, warn, fail or not_evaluated.
        reason: one sentence that a biologist understands.
        threshold_from: default, baseline or calibration.
        interval: 95 % interval of the value over donors or runs, where there is one.
        p: probability of such a value by chance, calibrated by permutation, where there is one.
    """

    name: str
    value: float | None
    threshold: list[float | None] | None
    outcome: Outcome
    reason: str
    threshold_from: str = "default"
    interval: Interval | None = None
    p: float | None = None

    @property
    def family(self) -> str:
        """One of `FAMILIES`."""
        return self.name.partition(".")[0]

    def as_json(self) -> dict[str, Any]:
        """Its entry in `verdict.json`, numbers to six significant digits."""
        bounds = None if self.threshold is None else [significant(b) for b in self.threshold]
        entry = asdict(self) | {"value": significant(self.value), "threshold": bounds}
        for name, known in (("interval", self.interval), ("p", self.p)):
            if known is None:
                del entry[name]
        if self.interval is not None:
            entry["interval"] = [significant(bound) for bound in self.interval]
        return entry if self.p is None else entry | {"p": significant(self.p)}


class Limits(NamedTuple):
    """Outside `accepted` a gate warns, outside `tolerated` it fails; None is open."""

    accepted: Range
    tolerated: Range


def judge(
    name: str, value: float, limits: Limits, reason: str, threshold_from: str = "default"
) -> Gate:
    """The gate of a measured value; one that is not a number is not evaluated."""
    if not math.isfinite(value):
        return not_evaluated(name, f"Not measurable here: {reason}")
    outcome: Outcome = "fail"
    if _within(value, limits.accepted):
        outcome = "pass"
    elif _within(value, limits.tolerated):
        outcome = "warn"
    return Gate(name, value, list(limits.accepted), outcome, reason, threshold_from)


def judge_soundly(
    name: str, value: float, interval: Interval | None, limits: Limits, reason: str
) -> Gate:
    """A gate that fails only where its whole interval fails; otherwise a failing value warns."""
    gate = replace(judge(name, value, limits, reason), interval=interval)
    if gate.outcome != "fail":
        return gate
    low, high = limits.tolerated
    beyond = interval is not None and (
        (low is not None and interval[1] < low) or (high is not None and interval[0] > high)
    )
    return gate if beyond else replace(gate, outcome="warn")


def not_evaluated(name: str, reason: str) -> Gate:
    """A gate that these data do not allow."""
    return Gate(name, None, None, "not_evaluated", reason)


def significant(value: float | None, digits: int = 6) -> float | None:
    """A number to six significant digits, so that equal runs write equal bytes; no NaN."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{float(value):.{digits}g}")


def _within(value: float, bounds: Range) -> bool:
    least, most = bounds
    return (least is None or value >= least) and (most is None or value <= most)
