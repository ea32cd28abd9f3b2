"""The signature's gates: what of the difference between the conditions survives levelling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from levelseq.validate.contrast import LEAST_GENES
from levelseq.validate.gates import Gate, Limits, judge, judge_soundly, not_evaluated
from levelseq.validate.jackknife import Interval
from levelseq.validate.signature import NEARLY, Comparison

__all__ = ["NAMES", "SignatureLimits", "signature_gates"]

NAMES = (
    "signature.correlation",
    "signature.slope",
    "signature.sign",
    "signature.variance_removed",
    "signature.false_genes",
    "signature.false_positives",
)
_OF_CARRYING, _OF_ALL = NAMES[:4], NAMES[4:]
_NEARLY_SAYS = "Condition and batch are nearly confounded: what can be told rests on few samples."
# Genes that carry a signature are far from zero: of a hundred of them five may turn.
_SIGN = Limits((0.95, None), (0.9, None))
# The nominal rate is .05. The share says how far differences between batches pass for the
# condition's; that another mix of cell types may do this too is why it never refuses.
_PERMUTED = Limits((None, 0.1), (None, None))


@dataclass(frozen=True)
class SignatureLimits:
    """Least correlation, most that the slope is off 1, most false genes as a share."""

    correlation: float
    slope: float
    false_genes: float

    @property
    def removed(self) -> Limits:
        """Of the condition's variance: what is gone when every effect shrinks by the slope's."""
        return Limits((None, 1 - (1 - self.slope) ** 2), (None, 1 - (1 - 1.5 * self.slope) ** 2))


def signature_gates(
    found: list[Comparison],
    limits: SignatureLimits,
    condition: str = "condition",
    batch: str = "batch",
) -> list[Gate]:
    """The worst comparison of each measure; a confounded one fails all.

    Args:
        found: one entry a level of the condition.
        limits: thresholds.
        condition, batch: the study's columns, by their names.
    """
    if not found:
        return [not_evaluated(n, "The condition has one value in these data.") for n in NAMES]
    confounded = [c for c in found if c.confounded]
    if confounded:
        reason = _confounded(confounded, condition, batch)
        return [Gate(name, None, None, "fail", reason) for name in NAMES]
    measured = [c for c in found if not c.problem]
    if not measured:
        return [not_evaluated(name, found[0].problem) for name in NAMES]
    false = _false_genes(max(measured, key=lambda c: c.false_genes / c.genes), limits)
    last = [false, _permuted(measured)]
    carrying = [c for c in measured if c.carrying >= LEAST_GENES]
    if not carrying:
        return [*_too_little(max(measured, key=lambda c: c.carrying)), *last]
    return [
        _correlation(min(carrying, key=lambda c: c.correlation.value), limits),
        _slope(max(carrying, key=lambda c: abs(c.slope.value - 1)), limits),
        _sign(min(carrying, key=lambda c: c.same_sign.value)),
        _removed(max(carrying, key=_known(lambda c: c.removed.value)), limits),
        *last,
    ]


def _too_little(most: Comparison) -> list[Gate]:
    reason = (
        f"Only {most.carrying} genes differ between {most.level!r} and {most.base!r} within"
        f" batches, fewer than {LEAST_GENES}: too little signal to follow."
    )
    unknown = [not_evaluated(name, reason) for name in _OF_CARRYING]
    if most.inflation > NEARLY:
        unknown[0] = Gate(NAMES[0], None, None, "warn", f"{reason} {_NEARLY_SAYS}")
    return unknown


def _correlation(worst: Comparison, limits: SignatureLimits) -> Gate:
    least, value = limits.correlation, worst.correlation.value
    gate = judge(NAMES[0], value, Limits((least, None), (least - 0.1, None)), "")
    note = ""
    if worst.inflation > NEARLY and gate.outcome == "pass":
        gate = replace(gate, outcome="warn")
        note = f" {_NEARLY_SAYS}"
    reason = (
        f"Log fold changes of {worst.carrying} genes, {worst.level!r} against {worst.base!r},"
        f" correlate {value:.2f} with those within batches.{note}"
    )
    return replace(gate, reason=reason, interval=worst.correlation.interval)


def _slope(worst: Comparison, limits: SignatureLimits) -> Gate:
    off, value = limits.slope, worst.slope.value
    bounds = Limits((1 - off, 1 + off), (1 - 1.5 * off, 1 + 1.5 * off))
    says = "kept at" if abs(value - 1) <= off else "shrunk to" if value < 1 else "blown up to"
    reason = (
        f"The difference between {worst.level!r} and {worst.base!r} is {says} {value:.2f} of"
        " its size within batches."
    )
    return replace(judge(NAMES[1], value, bounds, reason), interval=worst.slope.interval)


def _sign(worst: Comparison) -> Gate:
    value = worst.same_sign.value
    reason = (
        f"Of {worst.carrying} genes that differ between {worst.level!r} and {worst.base!r},"
        f" {value:.0%} differ in the same direction after levelling."
    )
    return judge_soundly(NAMES[2], value, worst.same_sign.interval, _SIGN, reason)


def _removed(worst: Comparison, limits: SignatureLimits) -> Gate:
    value, interval = worst.removed.value, worst.removed.interval
    if not np.isfinite(value):
        return not_evaluated(NAMES[3], "The condition's variance cannot be told from noise.")
    says = f"{value:.0%} is removed" if value > 0 else "nothing is removed"
    reason = (
        f"Of the variance that {worst.level!r} and {worst.base!r} make over {worst.genes} genes,"
        f" {says}{_at_most(interval)}."
    )
    return judge_soundly(NAMES[3], value, interval, limits.removed, reason)


def _at_most(interval: Interval | None) -> str:
    if interval is None:
        return "; donors are too few for a bound"
    return f", and at most {min(1.0, max(0.0, interval[1])):.0%} with 95 % confidence"


def _false_genes(worst: Comparison, limits: SignatureLimits) -> Gate:
    most = limits.false_genes
    reason = (
        f"Of {worst.genes} genes, {worst.false_genes} differ between {worst.level!r} and"
        f" {worst.base!r} only after levelling."
    )
    bounds = Limits((None, most), (None, 3 * most))
    return judge(NAMES[4], worst.false_genes / worst.genes, bounds, reason)


def _permuted(measured: list[Comparison]) -> Gate:
    known = [c for c in measured if np.isfinite(c.permuted.value)]
    if not known:
        reason = "The samples are too few to deal the condition out anew in 20 ways."
        return not_evaluated(NAMES[5], reason)
    worst = max(known, key=lambda c: c.permuted.value)
    reason = (
        f"With {worst.level!r} and {worst.base!r} dealt out anew within batches,"
        f" {worst.permuted.value:.1%} of the genes differ at p < .05 after levelling; chance"
        " gives 5 %."
    )
    gate = judge(NAMES[5], worst.permuted.value, _PERMUTED, reason)
    return replace(gate, interval=worst.permuted.interval)


def _confounded(found: list[Comparison], condition: str, batch: str) -> str:
    places = "; ".join(c.confounded for c in found[:3]) + ("; …" if len(found) > 3 else "")
    return (
        f"The columns {condition!r} and {batch!r} are confounded: {places}. No method can separate"
        " the condition from the batch."
    )


def _known(value: Callable[[Comparison], float]) -> Callable[[Comparison], float]:
    """A value to sort by, with what is not a number last."""
    return lambda each: float(np.nan_to_num(value(each), nan=-np.inf))
