"""Governance's gates: the condition is still told, and genes that must stay keep their difference.

A gate refuses only where its whole interval over donors or runs lies beyond what is tolerated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.gates import Gate, Limits, judge_soundly, not_evaluated
from levelseq.validate.governance import Governed
from levelseq.validate.protected import Kept, SetFound, drivers_of, kept_of, share_by_chance
from levelseq.validate.signature import Comparison

__all__ = ["NAMES", "condition_gates", "overlap_gate", "protected_gate"]

F64 = NDArray[np.float64]

NAMES = (
    "governance.condition_embedding",
    "governance.condition_values",
    "governance.signature_genes",
    "governance.protected_genes",
)
# Of the distance between the levels of a condition. One in five may go with the batches; with
# half of it gone, what 98 % were told by is told in 85 %.
_TOLD = Limits((0.8, None), (0.5, None))
# Below this the condition is not told well enough for a loss of it to be told.
_LEAST_TOLD = 0.1
_RARE = 0.01


def condition_gates(found: list[Governed], missing: str) -> list[Gate]:
    """`governance.condition_embedding` and `.condition_values`, of the level that loses most.

    Args:
        found: from `govern`.
        missing: why there is no condition to look at, if there is none.
    """
    conditions = [each for each in found if each.target == "condition"]
    if not conditions:
        return [not_evaluated(name, missing) for name in NAMES[:2]]
    able = [
        each
        for each in conditions
        if each.left_out and np.isfinite(each.accuracy["input"].value + each.small.value)
    ]
    if not able:
        reason = "No donor or batch can be left out and the condition still be learnt from others."
        return [not_evaluated(name, reason) for name in NAMES[:2]]
    return [_told(able, "embedding", NAMES[0]), _told(able, "values", NAMES[1])]


def _told(able: list[Governed], space: str, name: str) -> Gate:
    told = [each for each in able if _clear(each, space) and np.isfinite(each.kept[space].value)]
    if not told:
        best = max(able, key=lambda each: _before(each, space))
        reason = (
            f"Even before levelling {best.level!r} is told from {best.base!r} in"
            f" {_before(best, space):.0%} of held-out observations only, and chance gives"
            f" {best.chance:.0%}: too little to lose."
        )
        return not_evaluated(name, reason)
    worst = min(told, key=lambda each: each.kept[space].value)
    kept, after = worst.kept[space], worst.accuracy[space].value
    what = "the embedding" if space == "embedding" else "levelled values"
    before = f"{_before(worst, space):.0%} before"
    if space == "embedding":
        before += " (by as many principal components)"
    reason = (
        f"From {what} {worst.level!r} is told from {worst.base!r} in {after:.0%} of the"
        f" observations of a held-out {worst.left_out}, {before}: {kept.value:.2f} of the distance"
        " between them is kept."
    )
    return judge_soundly(name, kept.value, kept.interval, _TOLD, reason)


def _before(each: Governed, space: str) -> float:
    return (each.small if space == "embedding" else each.accuracy["input"]).value


def _clear(each: Governed, space: str) -> bool:
    """Whether the condition is told before levelling, well enough for a loss to show."""
    before = each.small if space == "embedding" else each.accuracy["input"]
    return before.value > each.chance + _LEAST_TOLD and (
        before.interval is not None and before.interval[0] > each.chance
    )


def overlap_gate(
    removed_G: F64 | None,
    signature_G: NDArray[np.bool_],
    mean_G: F64,
    compared: list[Comparison],
    least: Limits,
    seed: int,
) -> Gate:
    """`governance.signature_genes`: what genes keep that drive the batch and carry the condition.

    Its p-value is that of the batch sitting in the condition's genes as much by chance.
    """
    if removed_G is None or removed_G.sum() <= 0:
        return not_evaluated(NAMES[2], "No batch is told beyond chance: there is none to remove.")
    if not signature_G.any():
        return not_evaluated(NAMES[2], "The condition has no signature that can be followed.")
    drivers = drivers_of(removed_G)
    p = share_by_chance(signature_G, removed_G, mean_G, seed)[2]
    both = int((drivers & signature_G).sum())
    kept = kept_of(compared, drivers)
    says = f"Of {int(drivers.sum())} genes that drive the removed batch {both} carry the condition"
    if kept is None:
        return replace(not_evaluated(NAMES[2], f"{says}: too few to follow."), p=_known(p))
    reason = f"{says}; {_keeps(kept)}."
    gate = judge_soundly(NAMES[2], kept.slope.value, kept.slope.interval, least, reason)
    return replace(gate, p=_known(p))


def protected_gate(found: Sequence[SetFound], least: Limits) -> Gate:
    """`governance.protected_genes`: of the protected sets the one that keeps least.

    A set that holds more of the removed batch than chance gives warns, whatever it keeps.
    """
    name = NAMES[3]
    if not found:
        return not_evaluated(name, "No protected gene set was named.")
    rare = [each for each in found if np.isfinite(each.p) and each.p < _RARE]
    note = "".join(
        f" The batch that is removed sits in {each.name!r} ({each.share:.1%} of it, by chance"
        f" {each.expected:.1%})."
        for each in rare[:3]
    )
    known = [each for each in found if each.kept is not None]
    least_p = min((each.p for each in found if np.isfinite(each.p)), default=None)
    if not known:
        reason = "Fewer than three genes of any protected set differ between conditions."
        outcome = Gate(name, None, None, "warn", note.strip()) if rare else None
        return replace(outcome or not_evaluated(name, reason), p=least_p)
    worst = min(known, key=lambda each: _slope(each.kept))
    assert worst.kept is not None
    reason = f"In the protected set {worst.name!r} {_keeps(worst.kept)}.{note}"
    slope = worst.kept.slope
    gate = replace(judge_soundly(name, slope.value, slope.interval, least, reason), p=least_p)
    return replace(gate, outcome="warn") if rare and gate.outcome == "pass" else gate


def _keeps(kept: Kept) -> str:
    return (
        f"the difference between {kept.level!r} and {kept.base!r} is kept at"
        f" {kept.slope.value:.2f} of its size in {kept.carrying} genes"
    )


def _slope(kept: Kept | None) -> float:
    return np.inf if kept is None else kept.slope.value


def _known(p: float) -> float | None:
    return p if np.isfinite(p) else None
