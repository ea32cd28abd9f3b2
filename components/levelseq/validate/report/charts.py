"""The report's charts as inline SVG, laid out in per cent so that they fit any width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from levelseq.validate.report.words import number, span

__all__ = ["bar", "pair", "strip", "track"]

Threshold = list[float | None] | None
_LIMITS = ("sd3", "sd2", "mean", "sd2", "sd3")


def strip(name: str, value: float | None, threshold: Threshold, outcome: str) -> str:
    """One gate: its value on an axis where the accepted range is shaded."""
    low, high = threshold or [None, None]
    axis = _Axis([value], threshold)
    says = f"{name}: {number(value)}, {span(threshold)}, {outcome.replace('_', ' ')}"
    parts = ['<rect class="ground" x="0" y="9" width="100%" height="10" rx="5"/>']
    if threshold is not None and (low is not None or high is not None):
        left, right = axis.at(low, 0.0), axis.at(high, 100.0)
        parts.append(
            f'<rect class="allowed" x="{left:.2f}%" y="9" width="{right - left:.2f}%" height="10"/>'
        )
        parts += [_edge(axis, edge) for edge in (low, high) if edge is not None]
    if _finite(value):
        parts.append(f'<circle class="value" cx="{axis.at(value):.2f}%" cy="14" r="7"/>')
    parts += _ends(axis, [low, high])
    return _svg("strip", 36, says, parts, f"is-{outcome}")


def bar(name: str, value: float | None, *, own: bool) -> str:
    """A score between 0 and 1 as a bar; `own` marks this run's."""
    width = max(0.0, min(1.0, value)) * 100 if value is not None and _finite(value) else 0.0
    kind = "fill own" if own else "fill"
    parts = [
        '<rect class="ground" x="0" y="3" width="100%" height="12" rx="3"/>',
        f'<rect class="{kind}" x="0" y="3" width="{width:.2f}%" height="12" rx="3"/>',
    ]
    return _svg("bar", 18, f"{name}: {number(value)}", parts)


def pair(name: str, before: float | None, after: float | None, most: float) -> str:
    """Two values as bars on one scale, before above after; below 0 there is no bar."""
    parts = []
    for value, kind, y in ((before, "fill", 2), (after, "fill own", 12)):
        known = value if value is not None and _finite(value) else 0.0
        width = 100 * min(1.0, max(0.0, known / most)) if most > 0 else 0.0
        parts.append(f'<rect class="{kind}" x="0" y="{y}" width="{width:.2f}%" height="8" rx="2"/>')
    return _svg("bar", 22, f"{name}: before {number(before)}, after {number(after)}", parts)


def track(
    name: str,
    past: Sequence[float | None],
    now: float | None,
    threshold: Threshold,
    outcome: str,
    limits: Sequence[float] = (),
) -> str:
    """A gate's value over the baselines, oldest first, and in this run at the right.

    Args:
        limits: of a control chart, at -3, -2, 0, 2 and 3 SD; each is a line.
    """
    low, high = threshold or [None, None]
    values = [*past, now]
    axis = _Axis([*values, *limits], threshold, near=True)
    height, top, bottom = 96, 10, 78

    def y(at: float) -> float:
        return bottom - axis.at(at) / 100 * (bottom - top)

    def x(index: int) -> float:
        return 3 + 94 * (index / (len(values) - 1) if len(values) > 1 else 1)

    whole = f'y="{top - 6}" width="100%" height="{bottom - top + 12}"'
    parts = [f'<rect class="ground" x="0" {whole} rx="6"/>']
    if low is not None or high is not None:
        upper = y(high) if high is not None else top - 6
        lower = y(low) if low is not None else bottom + 6
        band = f'y="{upper:.1f}" width="100%" height="{lower - upper:.1f}"'
        parts.append(f'<rect class="allowed" x="0" {band}/>')
    parts += [
        f'<line class="{kind}" x1="0" x2="100%" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        for v, kind in zip(limits, _LIMITS)
    ]
    shown = [(x(i), y(v), i) for i, v in enumerate(values) if v is not None and _finite(v)]
    parts += _walk(shown, len(past))
    parts.append(f'<text x="0" y="{height}">{len(past)} earlier</text>')
    parts.append(f'<text x="100%" y="{height}" text-anchor="end">this run: {number(now)}</text>')
    figures = ", ".join(number(v) for v in past)
    spread = f", 2 SD {number(limits[1])} to {number(limits[3])}" if limits else ""
    says = f"{name}: earlier {figures}; this run {number(now)}, {span(threshold)}{spread}"
    return _svg("track", height + 4, says, parts, f"is-{outcome}")


def _walk(shown: list[tuple[float, float, int]], now: int) -> list[str]:
    """Places of runs joined by lines, the present run's the larger dot."""
    parts = [
        f'<line class="step" x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"/>'
        for (x1, y1, _), (x2, y2, _) in pairwise(shown)
    ]
    for x, y, run in shown:
        kind, radius = ("value", 7) if run == now else ("past", 3.5)
        parts.append(f'<circle class="{kind}" cx="{x:.2f}%" cy="{y:.1f}" r="{radius}"/>')
    return parts


class _Axis:
    """Per cent along an axis that holds the value and its thresholds with room around them.

    Shares stay on 0 to 1 unless `near` asks for a closer look or the only threshold is an
    upper one.
    """

    def __init__(
        self, values: Sequence[float | None], threshold: Threshold, *, near: bool = False
    ) -> None:
        low, high = threshold or [None, None]
        held = [v for v in (*values, low, high) if v is not None and _finite(v)] or [0.0, 1.0]
        shares = all(0 <= v <= 1 for v in held)
        self.low, self.high = 0.0, 1.0
        if shares and low is None and high is not None:
            self.high = min(1.0, 1.7 * max(held)) or 1.0
        elif near or not shares:
            size = max(abs(v) for v in held)
            pad = 0.2 * (max(held) - min(held))
            if not near and pad < 0.05 * size:
                pad = 0.5 * size
            pad = pad or 0.2 * size or 1.0
            self.low = min(held) - pad if min(held) < 0 else max(0.0, min(held) - pad)
            self.high = min(1.0, max(held) + pad) if shares else max(held) + pad

    def at(self, value: float | None, missing: float = 0.0) -> float:
        if value is None or not _finite(value):
            return missing
        return 100 * (value - self.low) / (self.high - self.low)


def _edge(axis: _Axis, value: float) -> str:
    at = f"{axis.at(value):.2f}%"
    return f'<line class="edge" x1="{at}" x2="{at}" y1="5" y2="23"/>'


def _ends(axis: _Axis, edges: list[float | None]) -> list[str]:
    """Figures under the axis: the thresholds, and the ends where there is room."""
    known = [v for v in edges if v is not None]
    # A figure is some 14 per cent wide; at an end it lies to one side of its place.
    ends = [
        v for v in (axis.low, axis.high) if all(abs(axis.at(v) - axis.at(e)) > 24 for e in known)
    ]
    crowded = len(known) == 2 and axis.at(known[1]) - axis.at(known[0]) < 14
    texts = []
    for value in known + ends:
        at = axis.at(value)
        anchor = "start" if at < 6 else "end" if at > 94 else "middle"
        if crowded and value in known:
            anchor = "end" if value == known[0] else "start"
        texts.append(f'<text x="{at:.2f}%" y="34" text-anchor="{anchor}">{number(value, 2)}</text>')
    return texts


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _svg(kind: str, height: int, says: str, parts: list[str], extra: str = "") -> str:
    label = escape(says, quote=True)
    return (
        f'<svg class="{kind} {extra}" height="{height}" role="img" aria-label="{label}">'
        f"<title>{label}</title>{''.join(parts)}</svg>"
    )
