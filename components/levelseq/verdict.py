"""A verdict for a person who has one look."""

from __future__ import annotations

from typing import Any

__all__ = ["summary_lines"]

_WORDS = {"pass": "passed", "warn": "warned", "fail": "failed", "not_evaluated": "not evaluated"}


def summary_lines(verdict: dict[str, Any]) -> list[str]:
    """A verdict in a few lines: both decisions, how the gates stand, every reason."""
    outcomes = [str(gate["outcome"]) for gate in verdict["gates"]]
    standing = ", ".join(
        f"{outcomes.count(outcome)} {word}"
        for outcome, word in _WORDS.items()
        if outcome in outcomes
    )
    lines = [f"data: {verdict['data']}", f"model: {verdict['model_decision']}"]
    lines += [f"gates: {standing}"] if standing else []
    return lines + [f"why: {reason}" for reason in verdict["reasons"]]
