"""From the first verdict and what was decided to the final verdict and the log's action."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from levelseq.recalibrate.held_out import HeldOut

__all__ = ["Settlement", "Tried", "as_tried", "drop", "founded", "settle", "take"]

Json = dict[str, Any]
# {"rung": name, "model": key or None, "because": why it fell short, empty for the one taken,
#  "gates": name -> value, "held_out": both models' costs or None}; the last two where it was made;
#  "not_compared": why there are no costs, where the data did not allow it
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


def as_tried(
    rung: str, challenger: Json, because: list[str], compared: HeldOut | str | None
) -> Tried:
    """A challenger as the verdict and the log tell it.

    Args:
        rung: its name.
        challenger: its verdict.
        because: why it fell short.
        compared: with the champion on what was held out, or why these data do not allow it.
    """
    why = {"not_compared": compared} if isinstance(compared, str) else {}
    held_out = None if compared is None or isinstance(compared, str) else compared.as_json()
    return {
        "rung": rung,
        "model": challenger["model"],
        "because": because,
        "gates": {gate["name"]: gate["value"] for gate in challenger["gates"]},
        "held_out": held_out,
        **why,
    }


def take(first: Json, challenger: Json, tried: list[Tried]) -> Settlement:
    """The challenger becomes the champion and its verdict the final one, the old values kept."""
    way = tried[-1]["rung"]
    reason = f"Recalibrated by {way}: the model passes and replaces {first['champion']}."
    reasons = [*challenger["reasons"], reason]
    if "not_compared" in tried[-1]:
        reasons.append(f"On held-out data it was not compared: {tried[-1]['not_compared']}.")
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
    made = [t["model"] for t in tried if t["model"]]
    last = {"challenger": made[-1]} if made else {}
    return Settlement(final | last | {"tried": tried}, "drop", baseline=False)


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


def _final(first: Json, verdict: Json, decision: str, reasons: list[str]) -> Json:
    identity = {key: first[key] for key in ("schema", "run", "cohort", "champion")}
    return {
        **verdict,
        **identity,
        "model_decision": decision,
        "reasons": reasons,
        "first": first["model_decision"],
    }
