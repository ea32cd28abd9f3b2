"""A verdict for a person who has one look."""

from __future__ import annotations

from typing import Any

__all__ = ["LABELS_SEEN_BY", "kinds_of_total", "summary_lines"]

LABELS_SEEN_BY = "labels_seen_by"
"""Among scores: which models were trained with the labels that the scores are by."""

_WORDS = {"pass": "passed", "warn": "warned", "fail": "failed", "not_evaluated": "not evaluated"}


def summary_lines(verdict: dict[str, Any]) -> list[str]:
    """A verdict in a few lines: both decisions, the gates, the confidence, every reason."""
    outcomes = [str(gate["outcome"]) for gate in verdict["gates"]]
    standing = ", ".join(
        f"{outcomes.count(outcome)} {word}"
        for outcome, word in _WORDS.items()
        if outcome in outcomes
    )
    lines = [f"data: {verdict['data']}", f"model: {verdict['model_decision']}"]
    lines += [f"gates: {standing}"] if standing else []
    lines += _confidence(verdict)
    return lines + [f"why: {reason}" for reason in verdict["reasons"]]


def kinds_of_total(*scores: dict[str, Any]) -> tuple[str, ...]:
    """Kinds of totals that models may be compared by: not by labels that one was trained with."""
    without = ("label_free_total",)
    seen = any(LABELS_SEEN_BY in each for each in scores)
    return without if seen else ("scib_total", *without)


def _confidence(verdict: dict[str, Any]) -> list[str]:
    """A verdict of an earlier release has none."""
    found = verdict.get("confidence")
    if found is None:
        return []
    p = found["probability"]
    return [f"confidence: {found['because'] if p is None else f'{p:.0%}. ' + found['because']}"]
