"""Which deposits have come since the last run of a study: what a recurring run asks first."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import Any

from levelseq import progress
from levelseq.cohort import content_key, open_cohort
from levelseq.errors import BadAddress
from levelseq.ingest.params import IngestParams
from levelseq.ingest.plan import plan_deposits
from levelseq.ingest.readers.tenx_mtx import PARTS
from levelseq.registry import Registry, run_folder
from levelseq.store import join, open_store, read_json

__all__ = ["Arrived", "arrived"]

_DEPOSIT = re.compile(r"\.(csv|tsv|txt)(\.gz)?$|\.(h5ad|h5|hdf5)$", re.I)


@dataclass(frozen=True)
class Arrived:
    """What is new among the deposits at an address.

    Attributes:
        sheet: address of a sheet of the new ones; empty when there are none.
        n_new: how many they are.
        n_seen: how many a run of this name has judged before.
    """

    sheet: str
    n_new: int
    n_seen: int


def arrived(deposits: list[str], workspace: str, name: str) -> Arrived:
    """Compare the deposits' digests with those of all cohorts that were judged under a name.

    A deposit is known by its bytes and its metadata table's, wherever it lies. Every deposit is
    read to be digested, nothing else is kept of it.

    Args:
        deposits: a sheet, addresses of deposits, or one folder of them.
        workspace: where cohorts, runs and the registry are.
        name: the study's name.

    Raises:
        BadInput: a sheet or a deposit cannot be read.
    """
    listed = plan_deposits(IngestParams(), _below(deposits))["deposits"]
    seen = _judged(workspace, name)
    new = [deposit for deposit in listed if _digest(deposit) not in seen]
    progress.stage("watch", "deposits compared", new=len(new), seen=len(listed) - len(new))
    sheet = _write_sheet(new, workspace, name) if new else ""
    return Arrived(sheet, len(new), len(listed) - len(new))


def _below(deposits: list[str]) -> list[str]:
    """The deposits of a folder, where one is given in their place."""
    if len(deposits) != 1 or _DEPOSIT.search(deposits[0]):
        return deposits
    folder = deposits[0]
    paths = open_store(folder).list()
    tenx = {_folder(path) for path in paths if path.rsplit("/", 1)[-1] in PARTS["matrix"]}
    files = [path for path in paths if _DEPOSIT.search(path) and _folder(path) not in tenx]
    if "" in tenx or not paths:
        return deposits
    if not files and not tenx:
        raise BadAddress("holds no deposits", where=folder, do="check the address")
    return [join(folder, path) for path in sorted([*files, *tenx])]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


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


def _write_sheet(new: list[dict[str, Any]], workspace: str, name: str) -> str:
    """The new deposits as a sheet of their own; the same ones have the same address."""
    columns = sorted({column for deposit in new for column in deposit["study"]})
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["address", "metadata", *columns])
    for deposit in new:
        study = [deposit["study"].get(column, "") for column in columns]
        rows.writerow([deposit["address"], deposit["metadata"] or "", *study])
    content = text.getvalue()
    file = f"{content_key(content)}.csv"
    open_store(join(workspace, "watch", name)).put_if_absent(file, content.encode())
    return join(workspace, "watch", name, file)
