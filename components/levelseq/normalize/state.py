"""What a classical fit froze, as `state.json` and `state.safetensors` beside the values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from safetensors.numpy import load, save

from levelseq.cohort import BatchTree, manifest_json
from levelseq.errors import BadAddress, BadOption
from levelseq.normalize import levelling, values
from levelseq.normalize.methods import CATALOGUE
from levelseq.normalize.packing import Arrays, pack, unpack
from levelseq.normalize.params import MethodParams
from levelseq.normalize.size_factors import METHODS, SizeFactors
from levelseq.store import open_store

__all__ = ["ClassicalState", "read_state", "refuse_choices"]

_ARRAYS = "state.safetensors"
_FACTS = "state.json"


@dataclass(frozen=True)
class ClassicalState:
    """Everything that new samples need to be brought to the values of a fit.

    Attributes:
        params: the method and its choices.
        genes: genes that size factors, values and the choice of variable genes rest on.
        output_genes: genes that have values.
        variable_genes: the most variable first; none where they were not asked for.
        size_factors: frozen size factors; None where the method uses none.
        kind: of the values: `log1p_cpm`, `vst`, …; empty: counts.
        values: their frozen state.
        levelling: the frozen state of what was done to the values; None: nothing.
        tree: the batches of the fit; None where the method looked at none.
    """

    params: MethodParams
    genes: list[str]
    output_genes: list[str]
    variable_genes: list[str]
    size_factors: SizeFactors | None
    kind: str
    values: Any
    levelling: Any
    tree: BatchTree | None = None

    @property
    def method(self) -> str:
        """The name of the method."""
        return self.params.method

    @property
    def needs_batch(self) -> bool:
        """Whether new samples must tell their batch."""
        return CATALOGUE[self.method].needs_batch

    @property
    def columns(self) -> list[str]:
        """The columns that new samples must tell, beside their batch."""
        coding = getattr(self.levelling, "coding", None)
        kept = list(coding) if isinstance(coding, dict) else []
        named = [*kept, self.params.second_batch, *self.params.removed]
        return [name for name in named if name]

    def files(self) -> dict[str, bytes]:
        """Name and content of the files that `read_state` reads; equal states, equal bytes."""
        arrays: Arrays = {}
        facts = {
            "params": self.params.model_dump(include=set(MethodParams.model_fields)),
            "genes": self.genes,
            "output_genes": self.output_genes,
            "variable_genes": self.variable_genes,
            "size_factors": _sizes_facts(self.size_factors, arrays),
            "kind": self.kind,
            "values": pack(self.values, "values.", arrays) if self.values is not None else None,
            "tree": self.tree.as_json() if self.tree else None,
            "levelling": pack(self.levelling, "levelling.", arrays) if self.levelling else None,
        }
        return {_ARRAYS: save(arrays), _FACTS: manifest_json(facts)}


def read_state(address: str) -> ClassicalState:
    """The frozen state of a folder written by a classical method.

    Raises:
        BadAddress: there is none.
    """
    store = open_store(address)
    try:
        facts = json.loads(store.get(_FACTS))
    except BadAddress as error:
        raise BadAddress(
            "holds no fit of a classical method", where=address, do="check the address"
        ) from error
    arrays: Arrays = load(store.get(_ARRAYS))
    params = MethodParams.checked(**facts["params"])
    kind, frozen, level = facts["kind"], facts["values"], facts["levelling"]
    return ClassicalState(
        params,
        facts["genes"],
        facts["output_genes"],
        facts["variable_genes"],
        _sizes(facts["size_factors"], arrays),
        kind,
        unpack(values.STATES[kind], frozen, "values.", arrays) if frozen is not None else None,
        unpack(levelling.STATES[params.method], level, "levelling.", arrays) if level else None,
        BatchTree.from_json(facts["tree"]) if facts["tree"] else None,
    )


def refuse_choices(params: MethodParams) -> None:
    """Refuse what was chosen beside an earlier fit, which has the method and its choices.

    Raises:
        BadOption: names one that was given.
    """
    if params.model_fields_set:
        option = sorted(params.model_fields_set)[0].replace("_", "-")
        raise BadOption("the fit has its own", where=f"--{option}", do="leave it out")


def _sizes_facts(sizes: SizeFactors | None, arrays: Arrays) -> dict[str, Any] | None:
    if sizes is None:
        return None
    return {
        "method": sizes.method,
        "scale": sizes.scale,
        "reference_library": sizes.reference_library,
        "reference": pack(sizes.reference, "size_factors.", arrays),
    }


def _sizes(facts: dict[str, Any] | None, arrays: Arrays) -> SizeFactors | None:
    if facts is None:
        return None
    reference = unpack(METHODS[facts["method"]], facts["reference"], "size_factors.", arrays)
    return SizeFactors(facts["method"], reference, facts["scale"], facts["reference_library"])
