"""A verdict for a person who has one look."""

from __future__ import annotations

from typing import Any

__all__ = ["summary_lines"]

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


def _confidence(verdict: dict[str, Any]) -> list[str]:
    """A verdict of an earlier release has none."""
    found = verdict.get("confidence")
    if found is None:
        return []
    p = found["probability"]
    return [f"confidence: {found['because'] if p is None else f'{p:.0%}. ' + found['because']}"]
