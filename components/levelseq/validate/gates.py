"""Gates: a measured value, what is accepted, an outcome and the reason; and what follows from them.

a gate of                         fails              warns
mixing, conservation, signature,
reference, governance             data are refused   named in the reasons
drift                             champion is
                                  recalibrated       named in the reasons
generalization                    never              named in the reasons

Of a model that was trained against an adversary, warnings of conservation, signature and governance
refuse the data too (`adversarial`).

champion    the model is    data      drift    total               the model is
none        new             release                                promoted
none        new             refuse                                 not taken (keep)
some        the champion              fails                        recalibrated
some        the champion              passes                       kept
some        another one     release            not below champion  promoted
some        another one     otherwise                              not taken (keep)

A champion is recalibrated by challengers, the cheapest first: adapters for the new leaves, then
fine-tuning with replay. The first is promoted whose data are released, none of whose gates fails,
for which every gate that failed was evaluated, and whose total is at most `score_slack` below the
champion's; those before it, and all when none is, are dropped, each with its reasons in the log.
Control charts warn; they decide nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from levelseq.validate.jackknife import Interval

__all__ = [
    "FAMILIES",
    "Decision",
    "Gate",
    "Limits",
    "Outcome",
    "data_decision",
    "judge",
    "judge_soundly",
    "model_decision",
    "not_evaluated",
    "significant",
]

Outcome = Literal["pass", "warn", "fail", "not_evaluated"]
Range = tuple[float | None, float | None]

# The gravest first; drift judges the model, generalization tells what the next one may expect.
FAMILIES = (
    *("reference", "signature", "governance", "conservation", "mixing"),
    *("drift", "generalization"),
)
REFUSING = FAMILIES[:5]


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


class Decision(NamedTuple):
    """What becomes of the model, and why in one sentence."""

    model: Literal["promote", "keep", "recalibrate"]
    reason: str


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


def data_decision(gates: list[Gate]) -> Literal["release", "refuse"]:
    """Whether the data may be released."""
    failed = any(gate.outcome == "fail" and gate.family in REFUSING for gate in gates)
    return "refuse" if failed else "release"


def model_decision(
    gates: list[Gate],
    *,
    model: str,
    champion: str | None,
    total: float | None,
    champion_total: float | None,
) -> Decision:
    """What becomes of the model; the table at the top of this file.

    Args:
        gates: of this run.
        model: key of the model that was judged.
        champion: key of the champion, if there is one.
        total: the model's total score.
        champion_total: the champion's as recorded, of the same kind as `total`; None if unknown.
    """
    released = data_decision(gates) == "release"
    if champion is None:
        if released:
            return Decision("promote", "There is no champion yet, and this model is fit to be one.")
        return Decision("keep", "The model is not promoted, since its data are refused.")
    if champion == model:
        if any(gate.outcome == "fail" and gate.family == "drift" for gate in gates):
            return Decision("recalibrate", "The data have drifted away from the champion's.")
        return Decision("keep", "The champion stays: the data look like those it was fitted to.")
    if not released:
        return Decision("keep", "The champion stays, since this model's data are refused.")
    if total is None or champion_total is None:
        reason = "The model passes; no total of the champion can be compared with its own."
        return Decision("promote", reason)
    if total >= champion_total:
        reason = f"Its total score, {total:.3f}, is not below the champion's {champion_total:.3f}."
        return Decision("promote", reason)
    reason = (
        f"The champion stays: its total score is {champion_total:.3f}, this model's {total:.3f}."
    )
    return Decision("keep", reason)


def _within(value: float, bounds: Range) -> bool:
    least, most = bounds
    return (least is None or value >= least) and (most is None or value <= most)
