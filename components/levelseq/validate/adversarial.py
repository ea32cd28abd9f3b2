"""What is asked of a model that was trained against an adversary, beyond what is asked of others.

An adversary is content when batches look alike, and what makes them alike may be biology: kinds of
cells that one batch lacks, a condition that one batch has more of. So the doubt goes against such
a model. Nothing lies between pass and fail where biology is at stake: what another model is warned
of refuses its data, and so do neighbourhoods that cannot be measured. The bounds themselves are the
ones that others are accepted by.
"""

from __future__ import annotations

from dataclasses import replace

from levelseq.validate.gates import Gate

__all__ = ["CLASSES", "hardened"]

CLASSES = frozenset({"StyleTransfer"})
"""Of models, as `model.json` names them, that are trained against an adversary."""

FAMILIES = ("signature", "governance", "conservation")
NEVER_REFUSING = "signature.false_positives"
"""Another mix of kinds of cells may cause it, whatever the model."""
NEEDED = "conservation.neighbours_kept"
_WHY = "the model was trained against an adversary, which is known to remove biology"


def hardened(gates: list[Gate], model_class: str) -> list[Gate]:
    """The gates as they hold for a model of a class; those of most classes stay as they are."""
    return [_hardened(gate) for gate in gates] if model_class in CLASSES else gates


def _hardened(gate: Gate) -> Gate:
    if gate.outcome == "warn" and gate.family in FAMILIES and gate.name != NEVER_REFUSING:
        said = f"{gate.reason} A warning elsewhere, this refuses the data here: {_WHY}."
        return replace(gate, outcome="fail", reason=said)
    if gate.outcome == "not_evaluated" and gate.name == NEEDED:
        said = f"{gate.reason} This refuses the data: {_WHY}, and nothing shows that it did not."
        return replace(gate, outcome="fail", reason=said)
    return gate
