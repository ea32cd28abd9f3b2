"""The methods paragraph: what this run did and found, in sentences that a paper can take over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from levelseq.validate.report.words import METHODS, number, span

if TYPE_CHECKING:
    from levelseq.validate.pictures import Pictures

__all__ = ["methods_paragraph"]

Json = dict[str, Any]


def methods_paragraph(verdict: Json, pictures: Pictures) -> str:
    """What was done, by the pictures, then the scores, the gates and the decision."""
    found = [_scores(pictures), _gates(verdict["gates"]), _decision(verdict)]
    return " ".join(sentence.strip() for sentence in [*pictures.methods, *found] if sentence)


def _scores(pictures: Pictures) -> str:
    totals = [
        f"{number(score.get('total'))} ({METHODS.get(method, method)})"
        for method, score in pictures.scores.items()
        if score.get("total") is not None
    ]
    return f"Total scores were {', '.join(totals)}." if totals else ""


def _gates(gates: list[Json]) -> str:
    judged = [gate for gate in gates if gate["outcome"] != "not_evaluated"]
    if not judged:
        return ""
    listed = "; ".join(
        f"{gate['name']} {number(gate['value'])} ({span(gate['threshold'])})" for gate in judged
    )
    return f"Gates, with what was accepted: {listed}."


def _decision(verdict: Json) -> str:
    data = "released" if verdict["data"] == "release" else "refused"
    if verdict.get("first") == "recalibrate" and verdict["model_decision"] == "promote":
        return f"The model was recalibrated to the data, and the data were {data}."
    return f"The data were {data}."
