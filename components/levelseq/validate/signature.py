"""Signature: is the difference between the conditions the same as before levelling?

The truth is what the counts say within batches: pseudobulk log fold changes with an effect of
each leaf batch taken out. Beside it stand the same log fold changes of the levelled values across
batches, with no batch in the model: levelling must have done that part.

Shapes: U units (pseudobulk samples), G genes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.gates import Gate, Limits, Outcome, judge, not_evaluated
from levelseq.validate.moderated_t import Estimate, adjusted, moderated_t
from levelseq.validate.pseudobulk import Pseudobulk, log_cpm

__all__ = ["Comparison", "SignatureLimits", "compare", "signature_gates"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

NAMES = ("signature.correlation", "signature.slope", "signature.false_genes")
_DISCOVERY = 0.05
_LEAST_GENES = 10
_LEAST_COUNTS = 3.0
# Three quarters of the condition's variance lie between batches.
_NEARLY = 4.0
_NEARLY_SAYS = "Condition and batch are nearly confounded: what can be told rests on few samples."


@dataclass(frozen=True)
class SignatureLimits:
    """Least correlation, most that the slope is off 1, most false genes as a share."""

    correlation: float
    slope: float
    false_genes: float


@dataclass(frozen=True)
class Comparison:
    """One level of the condition against the most frequent one.

    Attributes:
        level: the level.
        base: the most frequent level.
        genes: genes tested.
        carrying: genes that differ within batches (5 % false discovery rate).
        correlation: of the log fold changes of those genes, within batches and after levelling.
        slope: of the levelled on the within-batch log fold changes, through the origin.
        false_genes: genes that differ after levelling alone, and more than the counts allow.
        inflation: how many times batch inflates the variance of the within-batch estimate.
        problem: why it could not be evaluated; empty if it was.
        confounded: whether no batch tells level and base apart.
    """

    level: str
    base: str
    genes: int = 0
    carrying: int = 0
    correlation: float = float("nan")
    slope: float = float("nan")
    false_genes: int = 0
    inflation: float = 1.0
    problem: str = ""
    confounded: bool = False


def compare(sums: Pseudobulk) -> list[Comparison]:
    """Every level of the condition against the most frequent one (by units, then by name)."""
    names, counts = np.unique(sums.units.condition_U, return_counts=True)
    if len(names) < 2:
        return []
    base = str(names[counts.argmax()])
    levels = [str(name) for name in names if name != base]
    return [_compare(sums, level, base) for level in levels]


def signature_gates(found: list[Comparison], limits: SignatureLimits) -> list[Gate]:
    """The worst comparison of each measure; a confounded one fails all three."""
    if not found:
        return [not_evaluated(n, "The condition has one value in these data.") for n in NAMES]
    confounded = [c for c in found if c.confounded]
    if confounded:
        return [Gate(name, None, None, "fail", _confounded(confounded)) for name in NAMES]
    measured = [c for c in found if not c.problem]
    if not measured:
        return [not_evaluated(name, found[0].problem) for name in NAMES]
    carrying = [c for c in measured if c.carrying >= _LEAST_GENES]
    false = _false_genes(max(measured, key=lambda c: c.false_genes / c.genes), limits)
    if not carrying:
        most = max(measured, key=lambda c: c.carrying)
        reason = (
            f"Only {most.carrying} genes differ between {most.level!r} and {most.base!r} within"
            f" batches, fewer than {_LEAST_GENES}: too little signal to follow."
        )
        unknown = [not_evaluated(name, reason) for name in NAMES[:2]]
        if most.inflation > _NEARLY:
            unknown[0] = Gate(NAMES[0], None, None, "warn", f"{reason} {_NEARLY_SAYS}")
        return [*unknown, false]
    return [
        _correlation(min(carrying, key=lambda c: c.correlation), limits),
        _slope(max(carrying, key=lambda c: abs(c.slope - 1)), limits),
        false,
    ]


def _compare(sums: Pseudobulk, level: str, base: str) -> Comparison:
    within_UP, across_UP = _designs(sums, level, base)
    column = 0
    others = np.delete(within_UP, column, axis=1)
    if np.linalg.matrix_rank(within_UP) == np.linalg.matrix_rank(others):
        return Comparison(level, base, confounded=True)
    within_UP = _full_rank(within_UP)
    if len(within_UP) <= within_UP.shape[1]:
        problem = f"Too few samples to estimate {level!r} against {base!r} within batches."
        return Comparison(level, base, problem=problem)
    expressed = sums.raw_UG.mean(axis=0) >= _LEAST_COUNTS
    if expressed.sum() < _LEAST_GENES:
        return Comparison(level, base, problem="Too few genes have counts enough to be compared.")
    raw = log_cpm(sums.raw_UG[:, expressed], sums.library_U)
    levelled = log_cpm(sums.level_UG[:, expressed], sums.library_U)
    within = moderated_t(raw, within_UP, column)
    after = moderated_t(levelled, across_UP, column)
    carrying = adjusted(within.p_values()) < _DISCOVERY
    return Comparison(
        level,
        base,
        genes=int(expressed.sum()),
        carrying=int(carrying.sum()),
        correlation=_pearson(within.effect[carrying], after.effect[carrying]),
        slope=_through_origin(within.effect[carrying], after.effect[carrying]),
        false_genes=int(_false(within, after, carrying).sum()),
        inflation=_inflation(within_UP, across_UP, column),
    )


def _false(within: Estimate, after: Estimate, carrying: Bool) -> Bool:
    """Genes that differ after levelling only, with an effect that the counts speak against.

    Levelled values vary less, so that a true but weak effect may pass the test after levelling
    and not before: such a gene counts only when its new effect is larger than the old one and
    incompatible with it.
    """
    new = (adjusted(after.p_values()) < _DISCOVERY) & ~carrying
    larger = np.abs(after.effect) > np.abs(within.effect)
    against = adjusted(within.p_values(after.effect)) < _DISCOVERY
    return np.asarray(new & larger & against)


def _designs(sums: Pseudobulk, level: str, base: str) -> tuple[F64, F64]:
    """Columns: this level, the other levels but the base, then leaf batches; or one intercept."""
    units = sums.units
    others = [c for c in np.unique(units.condition_U) if c not in (level, base)]
    conditions = np.stack([units.condition_U == c for c in (level, *others)], axis=1)
    batches = np.stack([units.batch_U == b for b in np.unique(units.batch_U)], axis=1)
    ones = np.ones((len(conditions), 1))
    within = np.hstack([conditions, batches]).astype(np.float64)
    return within, np.hstack([conditions, ones]).astype(np.float64)


def _full_rank(design: F64) -> F64:
    """The first column and those of the others that add something."""
    keep = [0]
    for column in range(design.shape[1] - 1, 0, -1):
        if np.linalg.matrix_rank(design[:, [*keep, column]]) == len(keep) + 1:
            keep.append(column)
    return design[:, keep]


def _inflation(within_UP: F64, across_UP: F64, column: int) -> float:
    """Variance of the estimate with batches in the model over that without."""
    inside = np.linalg.inv(within_UP.T @ within_UP)[column, column]
    outside = np.linalg.inv(across_UP.T @ across_UP)[column, column]
    return float(inside / outside)


def _correlation(worst: Comparison, limits: SignatureLimits) -> Gate:
    least = limits.correlation
    note = ""
    gate = judge(NAMES[0], worst.correlation, Limits((least, None), (least - 0.1, None)), "")
    if worst.inflation > _NEARLY and gate.outcome == "pass":
        gate = _with(gate, "warn")
        note = f" {_NEARLY_SAYS}"
    reason = (
        f"Log fold changes of {worst.carrying} genes, {worst.level!r} against {worst.base!r},"
        f" correlate {worst.correlation:.2f} with those within batches.{note}"
    )
    return _with(gate, gate.outcome, reason)


def _slope(worst: Comparison, limits: SignatureLimits) -> Gate:
    off = limits.slope
    bounds = Limits((1 - off, 1 + off), (1 - 1.5 * off, 1 + 1.5 * off))
    says = (
        "kept at"
        if abs(worst.slope - 1) <= off
        else "shrunk to"
        if worst.slope < 1
        else "blown up to"
    )
    reason = (
        f"The difference between {worst.level!r} and {worst.base!r} is {says} {worst.slope:.2f} of"
        " its size within batches."
    )
    return judge(NAMES[1], worst.slope, bounds, reason)


def _false_genes(worst: Comparison, limits: SignatureLimits) -> Gate:
    most = limits.false_genes
    reason = (
        f"Of {worst.genes} genes, {worst.false_genes} differ between {worst.level!r} and"
        f" {worst.base!r} only after levelling."
    )
    bounds = Limits((None, most), (None, 3 * most))
    return judge(NAMES[2], worst.false_genes / worst.genes, bounds, reason)


def _confounded(found: list[Comparison]) -> str:
    levels = ", ".join(repr(c.level) for c in found[:4]) + (", …" if len(found) > 4 else "")
    return (
        f"Condition and batch are confounded: no batch tells {levels} from {found[0].base!r}, so no"
        " method can separate the condition from the batch."
    )


def _with(gate: Gate, outcome: Outcome, reason: str = "") -> Gate:
    return Gate(gate.name, gate.value, gate.threshold, outcome, reason, gate.threshold_from)


def _pearson(x: F64, y: F64) -> float:
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def _through_origin(x: F64, y: F64) -> float:
    square: Any = (x * x).sum()
    return float((x * y).sum() / square) if square > 0 else float("nan")
