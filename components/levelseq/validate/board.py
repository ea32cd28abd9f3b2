"""What a data-governance board is told: governance's and generalization's gates, and their figures.

Shapes: C cells (observations), G variable genes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.cohort import Cohort
from levelseq.store import read_bytes
from levelseq.validate.board_json import Genes, as_content
from levelseq.validate.diversity import diversity
from levelseq.validate.evidence import Evidence, column
from levelseq.validate.gates import Gate, Limits
from levelseq.validate.gene_sets import GeneSets, parse_gmt, placed
from levelseq.validate.generalization import generalization_gates, generalize
from levelseq.validate.governance import govern
from levelseq.validate.governance_gates import condition_gates, overlap_gate, protected_gate
from levelseq.validate.params import ValidateParams
from levelseq.validate.protected import examine, signature_of
from levelseq.validate.signature import Comparison

__all__ = ["Board", "inform", "read_protected", "sets_digest"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Board:
    """Gates of governance and generalization, and `verdict.json`'s `governance`."""

    gates: list[Gate]
    content: Json


def read_protected(address: str) -> GeneSets:
    """The protected gene sets at an address; none without one.

    Raises:
        BadAddress: there is no such file.
        BadOption: it is not a GMT file.
    """
    return parse_gmt(read_bytes(address), address) if address else {}


def sets_digest(address: str) -> str:
    """SHA-256 of the file of protected gene sets; empty without one."""
    return hashlib.sha256(read_bytes(address)).hexdigest() if address else ""


def inform(
    params: ValidateParams,
    cohort: Cohort,
    evidence: Evidence,
    compared: list[Comparison],
    protected: GeneSets,
) -> Board:
    """Look at what was removed and kept, at the next model, and at whom the cohort is of.

    Args:
        params: thresholds and seed.
        cohort: the counts.
        evidence: what was read.
        compared: the condition's comparisons; empty without a condition.
        protected: from `read_protected`.

    Raises:
        BadOption: no protected set has a gene of the cohort.
    """
    sample, seed = evidence.sample, params.seed
    governed = govern(sample, seed)
    removed = next((g.drivers.removed for g in governed if g.target == "batch" and g.told), None)
    mean_G, signature_G = sample.input_CG.mean(axis=0), signature_of(compared, len(evidence.genes))
    symbols, sets = _places(cohort, evidence, protected)
    sizes = [len(genes) for genes in protected.values()]
    found = examine(sets, sizes, removed, mean_G, compared, seed)
    told = generalize(sample, seed)
    off = params.signature_slope
    least = Limits((1 - off, None), (1 - 1.5 * off, None))
    gates = [
        *condition_gates(governed, _missing(evidence, compared)),
        overlap_gate(removed, signature_G, mean_G, compared, least, seed),
        protected_gate(found, least),
        *generalization_gates(told),
    ]
    genes = Genes(evidence.genes, symbols, signature_G, sets)
    groups = _diversity(cohort, params.smallest_group)
    content = as_content(len(sample.batch_C), genes, governed, found, told, groups)
    return Board(gates, content | {"sets_sha256": sets_digest(params.protected_genes)})


def _missing(evidence: Evidence, compared: list[Comparison]) -> str:
    """Why the condition cannot be looked at within batches."""
    if evidence.condition_C is None:
        return "The study names no condition column."
    if not compared:
        return "The condition has one value in these data."
    return "No batch holds enough of two levels of the condition."


def _places(
    cohort: Cohort, evidence: Evidence, protected: GeneSets
) -> tuple[list[str] | None, dict[str, NDArray[np.bool_]]]:
    """Symbols of the variable genes, where the cohort knows them, and each set's variable genes."""
    var = cohort.var()
    here = var.index.get_indexer(pd.Index(evidence.genes))
    symbols = [str(s) for s in var["symbol"].fillna("")] if "symbol" in var else None
    shown = None if symbols is None else [symbols[place] for place in here]
    if not protected:
        return shown, {}
    sets = placed(protected, [str(gene) for gene in var.index], symbols)
    return shown, {name: genes[here] for name, genes in sets.items()}


def _diversity(cohort: Cohort, smallest: int) -> Json:
    """Sites, tissues, conditions and labels of the whole cohort, none that is a donor's name."""
    obs, donor = cohort.obs(), cohort.role("donor")
    named = {role: cohort.role(role) for role in ("tissue", "condition", "label")}
    top = {"site": cohort.batch_levels[0]} if cohort.batch_levels else {}
    columns = {
        what: column(obs, name)
        for what, name in (top | named).items()
        if name is not None and name != donor
    }
    known = {what: values for what, values in columns.items() if values is not None}
    return diversity(known, column(obs, donor), smallest)
