"""What becomes of the model: from the first verdict, the registry and a challenger to the final."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Settlement", "Tried", "drop", "founded", "settle", "shortcomings", "take"]

Json = dict[str, Any]
# {"rung": name, "model": key or None, "because": why it fell short, empty for the one taken}
Tried = dict[str, Any]


@dataclass(frozen=True)
class Settlement:
    """The final verdict, the log's action, and whether the cohort becomes a baseline."""

    verdict: Json
    action: str
    baseline: bool


def settle(first: Json, champion: str | None) -> Settlement | None:
    """The end of a first verdict that needs no challenger; None when it needs one.

    Args:
        first: the first verdict.
        champion: the key of the champion now. A run that was judged against another one keeps:
            nothing is promoted over a model that it was not compared with.
    """
    decision = first["model_decision"]
    reasons = list(first["reasons"])
    if decision != "keep" and champion != first["champion"]:
        own = champion == first["model"]
        reasons.append(
            "The model is the champion already."
            if own
            else f"The champion became {champion} while this run was judged: run it again."
        )
        decision = "keep"
    if decision == "recalibrate":
        return None
    return Settlement(
        _final(first, first, decision, reasons), decision, baseline=first["data"] == "release"
    )


def shortcomings(first: Json, challenger: Json, slack: float) -> list[str]:
    """Why a challenger is not better than the champion on this cohort; nothing when it is.

    Its data are released, none of its gates fails, every gate that failed for the champion was
    evaluated, and its total score is not more than `slack` below the champion's. Where no gate
    failed, its total must be higher.
    """
    gates = {gate["name"]: gate for gate in challenger["gates"]}
    failed = [gate["name"] for gate in first["gates"] if gate["outcome"] == "fail"]
    found = [f"its {name} fails" for name, gate in gates.items() if gate["outcome"] == "fail"]
    found += [
        f"its {name} was not evaluated"
        for name in failed
        if gates.get(name, {}).get("outcome") in (None, "not_evaluated")
    ]
    if challenger["data"] != "release" and not found:
        found.append("its values are refused")
    own, other = _totals(challenger["scores"], first["scores"])
    if own is not None and other is not None:
        least = other - slack if failed else other
        if own < least or (own == least and not failed):
            found.append(f"its total score is {own:.3f}, the champion's {other:.3f}")
    elif not failed:
        found.append("there is no failed gate and no total score to be better in")
    return found


def take(first: Json, challenger: Json, tried: list[Tried]) -> Settlement:
    """The challenger becomes the champion and its verdict the final one, the old values kept."""
    way = tried[-1]["rung"]
    reason = f"Recalibrated by {way}: the model passes and replaces {first['champion']}."
    reasons = [*challenger["reasons"], reason]
    final = _final(first, challenger, "promote", reasons)
    final["champion_gates"] = {gate["name"]: gate["value"] for gate in first["gates"]}
    return Settlement(final | {"tried": tried}, "recalibrate", baseline=True)


def drop(first: Json, tried: list[Tried]) -> Settlement:
    """The champion stays; a cohort that it does not fit is no baseline.

    Args:
        first: the first verdict.
        tried: every challenger, in order; each fell short.
    """
    dropped = [f"By {t['rung']}: dropped, {', '.join(t['because'])}." for t in tried]
    final = _final(first, first, "keep", [*first["reasons"], *dropped])
    last = next(t["model"] for t in reversed(tried) if t["model"])
    return Settlement(final | {"challenger": last, "tried": tried}, "drop", baseline=False)


def founded(settlement: Settlement, kind: str) -> Settlement:
    """A settlement that says whether its cohort is the first baseline of its kind.

    Args:
        settlement: of a cohort whose kind has no other baseline.
        kind: ` of lung by 10x`, or nothing.
    """
    if not settlement.baseline:
        return settlement
    sentence = (
        f"This is the first cohort{kind} under this name: it becomes the baseline that later"
        " ones are judged against."
    )
    reasons = [*settlement.verdict["reasons"], sentence]
    return replace(settlement, verdict={**settlement.verdict, "reasons": reasons})


def _totals(own: Json, other: Json) -> tuple[float | None, float | None]:
    """Two totals of one kind: with labels where both have that, else without."""
    for kind in ("scib_total", "label_free_total"):
        if own.get(kind) is not None and other.get(kind) is not None:
            return own[kind], other[kind]
    return None, None


def _final(first: Json, verdict: Json, decision: str, reasons: list[str]) -> Json:
    identity = {key: first[key] for key in ("schema", "run", "cohort", "champion")}
    return {
        **verdict,
        **identity,
        "model_decision": decision,
        "reasons": reasons,
        "first": first["model_decision"],
    }
