"""What a classical fit froze, as `state.json` and `state.safetensors` beside the values."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from levelseq.cohort import manifest_json
from levelseq.normalize import combat
from levelseq.normalize.size_factors import METHODS, SizeFactors
from levelseq.store import open_store

__all__ = ["ClassicalState", "read_state"]

Arrays = dict[str, NDArray[Any]]

_ARRAYS = "state.safetensors"
_FACTS = "state.json"


@dataclass(frozen=True)
class ClassicalState:
    """Everything that new samples need to be brought to the values of a fit.

    Attributes:
        method: the step's method.
        genes: genes that size factors and the choice of variable genes rest on.
        output_genes: genes that have values.
        variable_genes: the most variable first.
        size_factors: frozen size factors.
        combat: frozen shifts and scales of the output genes, by method combat.
    """

    method: str
    genes: list[str]
    output_genes: list[str]
    variable_genes: list[str]
    size_factors: SizeFactors
    combat: combat.State | None

    def files(self) -> dict[str, bytes]:
        """Name and content of the files that `read_state` reads; equal states, equal bytes."""
        arrays: Arrays = {}
        facts = {
            "method": self.method,
            "genes": self.genes,
            "output_genes": self.output_genes,
            "variable_genes": self.variable_genes,
            "size_factors": {
                "method": self.size_factors.method,
                "scale": self.size_factors.scale,
                "reference_library": self.size_factors.reference_library,
                "reference": _split(self.size_factors.reference, "size_factors.", arrays),
            },
            "combat": _split(self.combat, "combat.", arrays) if self.combat else None,
        }
        return {_ARRAYS: save(arrays), _FACTS: manifest_json(facts)}


def read_state(address: str) -> ClassicalState:
    """The frozen state of a folder written by a classical method.

    Raises:
        BadAddress: there is none.
    """
    store = open_store(address)
    facts = json.loads(store.get(_FACTS))
    arrays: Arrays = load(store.get(_ARRAYS))
    sizes = facts["size_factors"]
    reference = _join(METHODS[sizes["method"]], sizes["reference"], "size_factors.", arrays)
    batches = facts["combat"]
    if batches is not None:
        coding = {name: tuple(levels) for name, levels in batches["coding"].items()}
        names = tuple(batches["batches"])
        batches = _join(
            combat.State, batches | {"coding": coding, "batches": names}, "combat.", arrays
        )
    return ClassicalState(
        facts["method"],
        facts["genes"],
        facts["output_genes"],
        facts["variable_genes"],
        SizeFactors(sizes["method"], reference, sizes["scale"], sizes["reference_library"]),
        batches,
    )


def _split(state: Any, prefix: str, arrays: Arrays) -> dict[str, Any]:
    """A state's plain fields; its arrays go to `arrays` under the prefix."""
    facts = {}
    for item in dataclasses.fields(state):
        value = getattr(state, item.name)
        if isinstance(value, np.ndarray):
            arrays[prefix + item.name] = np.ascontiguousarray(value)
        else:
            facts[item.name] = value
    return facts


def _join(kind: type[Any], facts: dict[str, Any], prefix: str, arrays: Arrays) -> Any:
    own = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return kind(**facts, **own)
