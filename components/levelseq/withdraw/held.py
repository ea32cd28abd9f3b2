"""Which observations of which deposits are of a donor, and which cohorts hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from levelseq.cohort import Cohort, open_cohort
from levelseq.ingest.deposit import kept_of, of_donors
from levelseq.ingest.params import IngestParams
from levelseq.ingest.plan import PlannedDeposit
from levelseq.store import join, read_json
from levelseq.withdraw.lineage import folders, manifests

__all__ = ["Held", "held_by", "unfinished"]

Json = dict[str, Any]


@dataclass
class Held:
    """What a workspace holds of some donors.

    Attributes:
        plans: fingerprint -> `plan.json` of each cohort that holds an observation of theirs.
        masks: digest of a deposit -> (observations,) which are theirs, in the deposit's order.
        donors: how many of them were found.
        untold: cohorts without a donor column, of whose deposits nothing is known.
        clear: all other cohorts, in which nothing of theirs is.
    """

    plans: dict[str, Json] = field(default_factory=dict)
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    donors: int = 0
    untold: list[str] = field(default_factory=list)
    clear: list[str] = field(default_factory=list)

    def addresses(self) -> set[str]:
        """Where the deposits are that hold observations of theirs."""
        every = (deposit for plan in self.plans.values() for deposit in _deposits(plan))
        return {deposit.address for deposit in every if deposit.sha256 in self.masks}


def held_by(workspace: str, donors: frozenset[str]) -> Held:
    """Look for donors in every cohort of a workspace; nothing is written.

    A cohort that was ingested without a donor column, or with another one, holds them where one of
    its deposits, known by its digest, was found to in another cohort.

    Raises:
        BadInput: a deposit that holds them is gone or was changed.
    """
    held, found, others = Held(), set[str](), list[str]()
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
        else:
            others.append(fingerprint)
    held.donors = len(found)
    for fingerprint in [*held.untold, *others] if held.masks else []:
        plan = _plan(workspace, fingerprint)
        if _holds(plan, held):
            held.plans[fingerprint] = plan
        elif fingerprint in others:
            held.clear.append(fingerprint)
    held.untold = [fingerprint for fingerprint in held.untold if fingerprint not in held.plans]
    return held


def unfinished(workspace: str, held: Held) -> list[str]:
    """Fingerprints of other cohort folders that take the donors' observations, or may do so.

    What was in flight at the withdrawal, or was given up: there is a plan or what was staged.
    """
    found = []
    for fingerprint, files in folders(workspace, "cohorts"):
        if fingerprint in held.plans or fingerprint in held.untold:
            continue
        if "plan.json" in files:
            plan = _plan(workspace, fingerprint)
            takes = any(_takes(deposit, held) for deposit in _deposits(plan))
        else:
            takes = Cohort.NAME not in files
        # A cohort that is there was looked through, keep rules and all.
        if takes and fingerprint not in held.clear:
            found.append(fingerprint)
    return found


def _plan(workspace: str, fingerprint: str) -> Json:
    return read_json(join(workspace, "cohorts", fingerprint, "plan.json"))


def _add_masks(held: Held, plan: Json, donors: frozenset[str], theirs: pd.DataFrame) -> None:
    params = IngestParams.checked(**plan["params"])
    named = set(theirs["deposit"].astype(str))
    for deposit in _deposits(plan):
        if deposit.name in named:
            mask = of_donors(deposit, params, donors)
            held.masks[deposit.sha256] = mask | held.masks.get(deposit.sha256, mask)


def _holds(plan: Json, held: Held) -> bool:
    """Whether a cohort of this plan has observations of the donors."""
    params = IngestParams.checked(**plan["params"])
    return any(
        not params.keep or deposit.takes(held.masks[deposit.sha256] & kept_of(deposit, params))
        for deposit in _deposits(plan)
        if _takes(deposit, held)
    )


def _takes(deposit: PlannedDeposit, held: Held) -> bool:
    """Whether a plan takes observations of the donors from this deposit, before keep rules."""
    mask = held.masks.get(deposit.sha256)
    return mask is not None and deposit.takes(mask)


def _deposits(plan: Json) -> Iterator[PlannedDeposit]:
    return (PlannedDeposit(**entry) for entry in plan["deposits"])
