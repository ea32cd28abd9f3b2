"""Which observations of which deposits are of a donor, and which cohorts hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.cohort import Cohort, open_cohort
from levelseq.ingest.deposit import of_donors
from levelseq.ingest.left_out import unpacked
from levelseq.ingest.params import IngestParams
from levelseq.ingest.plan import PlannedDeposit
from levelseq.store import join, read_json
from levelseq.withdraw.lineage import manifests

__all__ = ["Held", "held_by"]

Json = dict[str, Any]


@dataclass
class Held:
    """What a workspace holds of some donors.

    Attributes:
        plans: fingerprint -> `plan.json` of each cohort that holds an observation of theirs.
        masks: digest of a deposit -> (observations,) which are theirs, in the deposit's order.
        donors: how many of them were found.
        untold: cohorts without a donor column, of whose deposits nothing is known.
    """

    plans: dict[str, Json] = field(default_factory=dict)
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    donors: int = 0
    untold: list[str] = field(default_factory=list)


def held_by(workspace: str, donors: frozenset[str]) -> Held:
    """Look for donors in every cohort of a workspace; nothing is written.

    A cohort that was ingested without a donor column holds them where one of its deposits, known
    by its digest, was found to in another cohort.

    Raises:
        BadInput: a deposit that holds them is gone or was changed.
    """
    held, found = Held(), set[str]()
    for fingerprint, manifest in manifests(workspace, "cohorts", Cohort.NAME):
        column = manifest["roles"].get("donor")
        if column is None:
            held.untold.append(fingerprint)
            continue
        obs = open_cohort(join(workspace, "cohorts", fingerprint)).obs()
        theirs = obs[obs[column].astype(str).isin(donors)]
        if len(theirs):
            found |= set(theirs[column].astype(str))
            held.plans[fingerprint] = _plan(workspace, fingerprint)
            _add_masks(held, held.plans[fingerprint], donors, theirs)
    held.donors = len(found)
    for fingerprint in held.untold.copy() if held.masks else []:
        plan = _plan(workspace, fingerprint)
        if any(_holds(deposit, held) for deposit in _deposits(plan)):
            held.plans[fingerprint] = plan
            held.untold.remove(fingerprint)
    return held


def _plan(workspace: str, fingerprint: str) -> Json:
    return read_json(join(workspace, "cohorts", fingerprint, "plan.json"))


def _add_masks(held: Held, plan: Json, donors: frozenset[str], theirs: pd.DataFrame) -> None:
    params = IngestParams.checked(**plan["params"])
    named = set(theirs["deposit"].astype(str))
    for deposit in _deposits(plan):
        if deposit.name in named:
            mask = of_donors(deposit, params, donors)
            held.masks[deposit.sha256] = mask | held.masks.get(deposit.sha256, mask)


def _holds(deposit: PlannedDeposit, held: Held) -> bool:
    """Whether the plan takes observations of the donors from this deposit."""
    mask = held.masks.get(deposit.sha256)
    if mask is None:
        return False
    return bool((mask & ~unpacked(deposit.left_out)).any() if deposit.left_out else mask.any())


def _deposits(plan: Json) -> Iterator[PlannedDeposit]:
    return (PlannedDeposit(**entry) for entry in plan["deposits"])
