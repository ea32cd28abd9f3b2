"""Which deposits have come since the last run of a study: what a recurring run asks first."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass, field
from typing import Any

from levelseq import progress
from levelseq.cohort import content_key, open_cohort
from levelseq.errors import BadAddress, BadDeposit
from levelseq.ingest.looks import Looks
from levelseq.ingest.met import Met, list_arrivals, meet, versions_of
from levelseq.ingest.params import IngestParams
from levelseq.ingest.refusal import Check
from levelseq.ingest.sheet import Listed
from levelseq.ingest.stamps import Stamps
from levelseq.registry import Registry, run_folder
from levelseq.store import join, open_store, read_json

__all__ = ["Arrived", "arrived"]

_KEEP_SECONDS = 30
_MOST_LINES = 20


@dataclass(frozen=True)
class Arrived:
    """What is new among the deposits at an address.

    Attributes:
        sheet: address of a sheet of the new ones; empty when there are none.
        n_new: how many they are.
        n_seen: how many a run of this name has judged before.
        n_growing: how many were written to while they were read; the next look takes them up.
        aside: why this look has set deposits aside.
        n_aside: how many earlier looks have, that are still the same.
        refusals: the address of all these errors.
    """

    sheet: str
    n_new: int
    n_seen: int
    n_growing: int = 0
    aside: tuple[str, ...] = ()
    n_aside: int = 0
    refusals: str = ""

    @property
    def n_listed(self) -> int:
        """How many deposits there are at the address."""
        return self.n_new + self.n_seen + self.n_growing + self.n_aside + len(self.aside)

    def told(self) -> list[str]:
        """What a person should know of those that did not go on, a line each."""
        lines = [f"set aside: {line}" for line in self.aside[:_MOST_LINES]]
        if more := len(self.aside[_MOST_LINES:]):
            lines.append(f"set aside beside these: {more}, see {self.refusals}")
        if self.n_aside:
            lines.append(f"set aside by earlier looks: {self.n_aside}, see {self.refusals}")
        if self.n_growing:
            lines.append(f"still being written, left to the next look: {self.n_growing}")
        return lines


@dataclass
class _Sorted:
    """The deposits of one look by what becomes of them.

    Attributes:
        new: digest of the bytes -> row of those that go on.
        seen, growing, before: numbers; `before`: set aside by an earlier look.
        refused: key and error of those set aside now.
    """

    new: dict[str, Listed] = field(default_factory=dict)
    seen: int = 0
    growing: int = 0
    before: int = 0
    refused: list[tuple[str, BadDeposit]] = field(default_factory=list)


def arrived(
    deposits: list[str], workspace: str, name: str, params: IngestParams | None = None
) -> Arrived:
    """Compare the deposits' digests with those of all cohorts that were judged under a name.

    A deposit is known by its bytes and its metadata table's, wherever it lies. Only what the store
    gives another version than at an earlier look is read. A new one is checked to its end, as
    ingest does it; one that ingest would refuse is set aside until its bytes, its table, its row
    of the sheet, the params or the release change, and the others go on.

    Args:
        deposits: a sheet, addresses of deposits, or one folder of them.
        workspace: where cohorts, runs and the registry are.
        name: the study's name.
        params: what ingest will follow.

    Raises:
        BadInput: a sheet, an address or the gene table is wrong, access is denied, or no deposit
            is good and none ever was.
        StoreUnavailable: a store does not answer.
    """
    rows, stamps = list_arrivals(deposits)
    looks = Looks(workspace, name)
    judged = _judged(workspace, name)
    try:
        found = _sort(rows, stamps, looks, judged, Check(params or IngestParams(), workspace))
    finally:
        looks.keep()
    if found.refused and not (judged or found.new or found.growing):
        raise found.refused[0][1]
    for key, error in found.refused:
        looks.refuse(key, error)
        progress.notice("watch", f"set aside: {error}")
    progress.stage(
        "watch",
        "deposits compared",
        new=len(found.new),
        seen=found.seen,
        growing=found.growing,
        set_aside=len(found.refused) + found.before,
    )
    return Arrived(
        _write_sheet(list(found.new.values()), looks.folder) if found.new else "",
        len(found.new),
        found.seen,
        found.growing,
        tuple(str(error) for _, error in found.refused),
        found.before,
        looks.refusals,
    )


def _sort(
    rows: list[Listed], stamps: Stamps, looks: Looks, judged: set[str], check: Check
) -> _Sorted:
    """Digest all deposits, and check those that neither a run nor a look knows."""
    found, kept = _Sorted(), time.monotonic()
    for row in rows:
        met = meet(row, stamps, looks)
        if met.digests and (content_key(list(met.digests)) in judged or check.is_withdrawn(met)):
            found.seen += 1
        else:
            _sort_unseen(met, found, looks, check)
        if time.monotonic() - kept > _KEEP_SECONDS:
            looks.keep()
            kept = time.monotonic()
    return found


def _sort_unseen(met: Met, found: _Sorted, looks: Looks, check: Check) -> None:
    key, error = check.key(met), met.error
    if met.digests and (other := found.new.get(met.digests.deposit)):
        # The other one may go: then this one counts.
        key, error = content_key([key, other.address]), _copy(met.row, other)
    if looks.is_refused(key):
        found.before += 1
        return
    if not error and not looks.has_passed(key):
        error = check.refusal(met)
        if versions_of(met.row) != met.versions:
            found.growing += 1
            return
        if not error:
            looks.remember_passed(key)
    if error:
        found.refused.append((key, error))
    elif met.digests:
        found.new[met.digests.deposit] = met.row


def _copy(row: Listed, other: Listed) -> BadDeposit:
    return BadDeposit(
        f"has the same bytes as {other.address}",
        where=row.address,
        do="deliver every deposit once: its cells would count twice",
    )


def _judged(workspace: str, name: str) -> set[str]:
    """Digests of the deposits of every cohort that has a final verdict under a name."""
    found: set[str] = set()
    for run in {str(entry["run"]) for entry in Registry(workspace, name).log()}:
        try:
            verdict = read_json(join(run_folder(workspace, run), "verdict.json"))
            cohort = open_cohort(join(workspace, "cohorts", str(verdict["cohort"])))
            plan = read_json(join(cohort.address, "plan.json"))
        except BadAddress:
            continue  # somebody has cleaned up; what is gone is new again
        found |= {_digest(deposit) for deposit in plan["deposits"]}
    return found


def _digest(deposit: dict[str, Any]) -> str:
    return content_key([deposit["sha256"], deposit["metadata_sha256"]])


def _write_sheet(new: list[Listed], folder: str) -> str:
    """The new deposits as a sheet of their own; the same ones have the same address."""
    columns = sorted({column for row in new for column in row.study})
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["address", "metadata", *columns])
    for row in sorted(new, key=lambda row: row.study["deposit"]):
        study = [row.study.get(column, "") for column in columns]
        rows.writerow([row.address, row.metadata, *study])
    content = text.getvalue()
    file = f"{content_key(content)}.csv"
    open_store(folder).put_if_absent(file, content.encode())
    return join(folder, file)
