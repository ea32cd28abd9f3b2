"""Why a verdict is as it is: sentences for a person, the most important first."""

from __future__ import annotations

from collections.abc import Sequence

from levelseq.validate.control_chart import Chart
from levelseq.validate.gates import FAMILIES, Gate

__all__ = ["reasons"]


def reasons(
    gates: list[Gate],
    controls: list[Gate],
    charts: list[Chart],
    decision: str,
    asides: Sequence[str] = (),
) -> list[str]:
    """What failed, what warned, which control and chart speak against the run, then the decision.

    When nothing speaks against the data, one sentence says so and what was not looked at.

    Args:
        gates, controls, charts: of the run.
        decision: what becomes of the model, and why.
        asides: sentences that speak neither for the data nor against them; empty ones are left out.
    """
    ordered = sorted(gates, key=lambda gate: FAMILIES.index(gate.family))
    found = [
        gate.reason for outcome in ("fail", "warn") for gate in ordered if gate.outcome == outcome
    ]
    found += [c.reason for c in controls if c.outcome in ("fail", "warn")]
    found += [chart.reason for chart in charts if chart.alarms]
    if not found:
        found = [_all_passed(gates)]
    return [*dict.fromkeys(found), *filter(None, asides), decision]


def _all_passed(gates: list[Gate]) -> str:
    passed = sum(gate.outcome == "pass" for gate in gates)
    left = dict.fromkeys(gate.family for gate in gates if gate.outcome == "not_evaluated")
    aside = f"; not all could be told of {', '.join(left)}" if left else ""
    if passed == 0:
        return "No gate could be evaluated on these data."
    return f"All {passed} gates that could be evaluated passed{aside}."
