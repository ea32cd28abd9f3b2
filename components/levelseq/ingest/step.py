"""Ingest: the deposits of a plan become a cohort of shards, or nothing is written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from levelseq import progress
from levelseq.cohort import WHOLE, Cohort, Part, manifest_json
from levelseq.errors import BadAddress, BadDeposit
from levelseq.ingest import staged
from levelseq.ingest.assemble import cohort_var, counts_dtype, write_shards
from levelseq.ingest.deposit import CheckedDeposit, check_deposit
from levelseq.ingest.genes import GeneTable, gene_id_kind, read_gene_table
from levelseq.ingest.left_out import LeftOut, unpacked
from levelseq.ingest.params import IngestParams
from levelseq.ingest.plan import (
    PLAN_SCHEMA,
    PlannedDeposit,
    fingerprint,
    plan_deposits,
    sha256_of,
    write_plan,
)
from levelseq.store import Store, join, open_store, read_json

__all__ = ["run", "run_deposits"]


def run(plan: str, workspace: str, part: Part = WHOLE) -> str:
    """Write the cohort of a plan; a cohort that is there already is left as it is.

    Every deposit is read and checked to its end before the first shard is written. Memory holds
    one block of a deposit and one shard; local scratch holds the cohort's counts for the while.

    Args:
        plan: address of a `plan.json`.
        workspace: where cohorts stand.
        part: of several parts each checks its deposits and stages them below the cohort's folder,
            where the whole finds them.

    Returns:
        The address of `cohorts/<fingerprint>`.

    Raises:
        BadInput: a deposit is wrong or was changed since the plan; nothing is written then. Or a
            donor has withdrawn since the plan: there is no cohort then.
    """
    content = read_json(plan)
    if content.get("schema") != PLAN_SCHEMA:
        raise BadAddress(f"is not a plan of schema {PLAN_SCHEMA!r}", where=plan, do="plan first")
    if part.whole:
        return _ingest(content, plan, workspace)
    return _stage_part(content, plan, workspace, part)


def run_deposits(params: IngestParams, deposits: list[str], workspace: str) -> str:
    """Plan and ingest at once: of deposits that ingest refuses not even a plan is left.

    Args:
        params: what plan and ingest follow.
        deposits: one sheet, or addresses of deposits.
        workspace: where cohorts stand.

    Returns:
        The address of `cohorts/<fingerprint>`.

    Raises:
        BadInput: a sheet or a deposit is wrong; nothing is written then.
    """
    return _ingest(plan_deposits(params, deposits, workspace), "--deposits", workspace)


def _ingest(content: dict[str, Any], plan: str, workspace: str) -> str:
    """The cohort of a plan's content; `plan` is its address, for errors."""
    address = join(workspace, "cohorts", content["fingerprint"])
    store = open_store(address)
    planned = [PlannedDeposit(**entry) for entry in content["deposits"]]
    _refuse_withdrawn(planned, workspace)
    if store.exists(Cohort.NAME):
        staged.clear(store)
        progress.stage("ingest", "the cohort is there already", cohort=content["fingerprint"])
        return address
    params = IngestParams.checked(**content["params"])
    table = _gene_table(params, content, plan)
    with tempfile.TemporaryDirectory(prefix="levelseq-ingest-") as scratch:
        deposits = _check_all(planned, params, table, Path(scratch), store)
        var = cohort_var(deposits, table)
        _refuse_withdrawn(planned, workspace)
        write_plan(content, workspace)
        manifest = _assemble(store, content["fingerprint"], deposits, params, var)
    # Reading and writing take hours, in which a donor may withdraw.
    _refuse_withdrawn(planned, workspace)
    store.put_if_absent(Cohort.NAME, manifest_json(manifest))
    staged.clear(store)
    progress.stage("ingest", "cohort written", n_obs=manifest["n_obs"], n_vars=manifest["n_vars"])
    return address


def _stage_part(content: dict[str, Any], plan: str, workspace: str, part: Part) -> str:
    """Check the part's deposits, and leave them for the task that assembles the cohort."""
    address = join(workspace, "cohorts", content["fingerprint"])
    store = open_store(address)
    planned = [PlannedDeposit(**entry) for entry in content["deposits"]]
    _refuse_withdrawn(planned, workspace)
    if store.exists(Cohort.NAME):
        return address
    params = IngestParams.checked(**content["params"])
    table = _gene_table(params, content, plan)
    prefixes = _prefixes(planned, params.levels)
    for number, (deposit, prefix) in enumerate(zip(planned, prefixes)):
        if not part.has(number) or staged.is_staged(store, number):
            continue
        with tempfile.TemporaryDirectory(prefix="levelseq-ingest-") as scratch:
            checked = check_deposit(deposit, params, table, prefix, Path(scratch))
            staged.stage(store, number, checked)
        progress.stage("ingest", "deposit staged", deposit=number + 1, n_obs=checked.n_obs)
    return address


def _refuse_withdrawn(planned: list[PlannedDeposit], workspace: str) -> None:
    """Refuse a plan that is older than a withdrawal, and would bring the donor back."""
    masks = LeftOut(workspace).of([deposit.sha256 for deposit in planned])
    for deposit in planned:
        mask = masks.get(deposit.sha256)
        if mask and deposit.takes(unpacked(mask)):
            raise BadDeposit(
                "one of its donors has withdrawn since the plan",
                where=deposit.address,
                do="plan again",
            )


def _gene_table(params: IngestParams, content: dict[str, Any], plan: str) -> GeneTable | None:
    """The gene table, which must be the one that the plan digested."""
    planned = [PlannedDeposit(**entry) for entry in content["deposits"]]
    digest = sha256_of(params.genes) if params.genes else ""
    if fingerprint(params, planned, digest) != content["fingerprint"]:
        raise BadDeposit(
            "the plan and the table of genes do not belong together",
            where=params.genes or plan,
            do="plan again",
        )
    return read_gene_table(params.genes) if params.genes else None


def _check_all(
    planned: list[PlannedDeposit],
    params: IngestParams,
    table: GeneTable | None,
    scratch: Path,
    store: Store,
) -> list[CheckedDeposit]:
    """Every deposit, checked here or by a part that staged it."""
    prefixes = _prefixes(planned, params.levels)
    checked = []
    for number, (deposit, prefix) in enumerate(zip(planned, prefixes)):
        folder = scratch / f"{number:06d}"
        folder.mkdir()
        found = staged.staged(store, number, deposit, folder)
        checked.append(found or check_deposit(deposit, params, table, prefix, folder))
        of = f"{number + 1} of {len(planned)}"
        progress.stage("ingest", "deposit read", deposit=of, n_obs=checked[-1].n_obs)
    # Those who have withdrawn may be all that --keep had left of a deposit.
    if not (left := [deposit for deposit in checked if deposit.n_obs]):
        raise BadDeposit("no cell is left of any deposit", where=planned[0].address)
    return left


def _prefixes(planned: list[PlannedDeposit], levels: list[str]) -> list[str]:
    """What stands before the barcodes: the deepest batch level that tells all deposits apart."""
    for level in reversed(levels):
        values = [deposit.study.get(level, "") for deposit in planned]
        if all(values) and len(set(values)) == len(values):
            return values
    return [deposit.name for deposit in planned]


def _assemble(
    store: Store,
    key: str,
    deposits: list[CheckedDeposit],
    params: IngestParams,
    var: pd.DataFrame,
) -> dict[str, Any]:
    """Write the shards; the content of `cohort.json`."""
    dtype = counts_dtype(max(deposit.largest for deposit in deposits))
    shards = write_shards(store, deposits, var, dtype)
    return {
        "schema": Cohort.SCHEMA,
        "fingerprint": key,
        "n_obs": sum(deposit.n_obs for deposit in deposits),
        "n_vars": len(var),
        "dtype": dtype.name,
        "gene_ids": gene_id_kind(list(var.index)),
        "batch_tree": params.levels,
        "roles": params.roles,
        "deposits": [
            {
                "address": deposit.planned.address,
                "sha256": deposit.planned.sha256,
                "n_obs": deposit.n_obs,
                "study": deposit.planned.study,
            }
            for deposit in deposits
        ],
        "shards": shards,
        "qc": {"removed": _removed(deposits)},
        "consent": [],
    }


def _removed(deposits: list[CheckedDeposit]) -> dict[str, int]:
    reasons = list(dict.fromkeys(reason for deposit in deposits for reason in deposit.removed))
    removed = {reason: sum(d.removed.get(reason, 0) for d in deposits) for reason in reasons}
    if removed["empty"]:
        progress.notice("ingest", "cells without any count left out", cells=removed["empty"])
    return removed
