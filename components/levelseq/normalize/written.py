"""The end of writing values: a manifest, made of the fit and the shards that are there."""

from __future__ import annotations

from typing import Any

from levelseq.cohort import Cohort, Normalized, found_shard, manifest_json
from levelseq.errors import BadAddress
from levelseq.normalize.methods import CATALOGUE
from levelseq.normalize.state import ClassicalState, read_state
from levelseq.normalize.values import UNITS
from levelseq.progress import stage
from levelseq.store import Store

__all__ = ["finish", "left_by_parts", "unit_of"]


def left_by_parts(
    store: Store, cohort: Cohort
) -> tuple[ClassicalState, list[dict[str, Any]]] | None:
    """The fit and the entries of all shards, or None where parts have not left them whole."""
    shards = [found_shard(store, number) for number in range(len(cohort.reader))]
    found = [shard for shard in shards if shard]
    if len(found) < len(shards):
        return None
    try:
        return read_state(store.address), found
    except BadAddress:
        return None


def finish(
    state: ClassicalState,
    shards: list[dict[str, Any]],
    cohort: Cohort,
    store: Store,
    key: str,
    genes: str,
) -> None:
    """Write the manifest, last of all.

    Args:
        state: the fit, with its files written.
        shards: the entries of all shards.
        genes: what the manifest says of the genes that have values.
    """
    method = CATALOGUE[state.method]
    manifest = {
        "schema": Normalized.SCHEMA,
        "key": key,
        "cohort": cohort.address,
        "method": method.name,
        "model": None,
        "reference_batch": getattr(state.levelling, "reference_batch", "") or None,
        "genes": genes,
        "unit": unit_of(state),
        "shards": shards,
    }
    store.put_if_absent(Normalized.NAME, manifest_json(manifest))
    stage(
        "normalize",
        f"values by {method.name}",
        observations=cohort.starts()[-1],
        genes=len(state.output_genes),
    )


def unit_of(state: ClassicalState) -> str:
    """The unit of the values, as the manifest and a table's heading have it."""
    return CATALOGUE[state.method].unit or UNITS[state.kind]
