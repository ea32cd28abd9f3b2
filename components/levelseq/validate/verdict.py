"""An evaluation as `verdict.json`."""

from __future__ import annotations

from typing import Any

from levelseq.validate.evaluate import Evaluation
from levelseq.validate.gates import significant
from levelseq.validate.metric_versions import metric_version

__all__ = ["SCHEMA", "VERDICT", "as_verdict"]

SCHEMA = "levelseq.verdict/1"
VERDICT = "verdict.json"


def as_verdict(evaluation: Evaluation, run: str) -> dict[str, Any]:
    """The content of a first verdict: no NaN, numbers to six significant digits.

    Args:
        evaluation: what was found.
        run: the run's id.
    """
    return {
        "schema": SCHEMA,
        "run": run,
        "params": evaluation.params.model_dump(),
        "cohort": evaluation.cohort,
        "normalized": evaluation.normalized,
        "model": evaluation.model,
        "champion": evaluation.champion,
        "data": evaluation.data,
        "model_decision": evaluation.decision,
        "reasons": evaluation.reasons,
        "gates": [
            gate.as_json() | {"metric": metric_version(gate.name)} for gate in evaluation.gates
        ],
        "charts": [chart.as_json() for chart in evaluation.charts],
        "baseline": evaluation.kind.as_json() | {"earlier": evaluation.earlier},
        "governance": evaluation.governance,
        "drift": evaluation.drift,
        "correction": evaluation.correction.as_json(),
        "structure": evaluation.structure.as_json(),
        "confidence": evaluation.confidence.as_json(),
        "controls": [gate.as_json() for gate in evaluation.controls],
        "scores": {
            name: value if isinstance(value, str) else significant(value)
            for name, value in evaluation.scores.items()
        },
    }
