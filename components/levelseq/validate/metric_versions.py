"""Which version of its metric a gate's value was measured by.

A metric's number is raised here when the same data would give another value: its history then
starts anew, since values of different definitions are not comparable.
"""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["metric_version"]

# Gates that are not listed are at version 1.
_RAISED: dict[str, int] = {
    "conservation.neighbours_kept": 2,
    "conservation.weakest_group": 2,
}
# Measured by scib-metrics or its algorithms: its release is part of the definition.
_BY_SCIB = ("mixing.ilisi", "conservation.bio")


def metric_version(gate: str) -> str:
    """The version of a gate's metric: `1`, or `1, scib-metrics 0.5.10`."""
    own = str(_RAISED.get(gate, 1))
    return f"{own}, scib-metrics {version('scib-metrics')}" if gate in _BY_SCIB else own
