"""The door before ingest: which deposits, what is in their bytes, what it will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq import progress
from levelseq.cohort import Cohort, content_key, manifest_json
from levelseq.errors import BadAddress, BadDeposit
from levelseq.ingest.files import deposit_format, deposit_sha256, file_sha256, locate
from levelseq.ingest.forecast import forecast
from levelseq.ingest.left_out import LeftOut, unpacked
from levelseq.ingest.metadata import metadata_columns, refuse_absent_columns
from levelseq.ingest.params import IngestParams
from levelseq.ingest.readers import FORMATS
from levelseq.ingest.sheet import Listed, list_deposits
from levelseq.store import absolute, join, open_store, parent

__all__ = [
    "PLAN_SCHEMA",
    "PlannedDeposit",
    "fingerprint",
    "plan_deposit",
    "plan_deposits",
    "run",
    "sha256_of",
    "without",
    "write_plan",
]

PLAN_SCHEMA = "levelseq.plan/1"


@dataclass(frozen=True)
class PlannedDeposit:
    """One deposit as `plan.json` lists it.

    Attributes:
        name: unique, also the study column `deposit`.
        address: absolute.
        metadata: address of the table about its observations, or None.
        format: which reader reads it.
        bytes: size of its objects, metadata left out.
        sha256: digest of its objects' bytes.
        metadata_sha256: digest of the table's bytes, or None.
        study: study column -> value.
        left_out: packed mask of the observations whose donors have withdrawn, if there are any.
    """

    name: str
    address: str
    metadata: str | None
    format: str
    bytes: int
    sha256: str
    metadata_sha256: str | None
    study: dict[str, str]
    left_out: str = ""

    def as_json(self) -> dict[str, Any]:
        """Its entry in `plan.json`."""
        content = asdict(self)
        return content if self.left_out else {k: v for k, v in content.items() if k != "left_out"}

    def takes(self, mask: NDArray[np.bool_]) -> bool:
        """Whether any observation of a mask (observations,) is not left out."""
        return bool((mask & ~unpacked(self.left_out)).any() if self.left_out else mask.any())


def run(params: IngestParams, deposits: list[str], workspace: str) -> str:
    """Digest the deposits and write `cohorts/<fingerprint>/plan.json`.

    Args:
        params: the same that ingest will follow.
        deposits: one sheet (csv or tsv with a column `address`), or addresses of deposits.
        workspace: where cohorts stand.

    Returns:
        The plan's address.

    Raises:
        BadInput: a sheet or a deposit is wrong; nothing is written then.
    """
    return write_plan(plan_deposits(params, deposits, workspace), workspace)


def plan_deposits(params: IngestParams, deposits: list[str], workspace: str = "") -> dict[str, Any]:
    """The content of `plan.json`; see `run`.

    Observations whose donors have withdrawn from the workspace are left out; without a workspace
    nobody has.
    """
    if params.genes:
        params = params.model_copy(update={"genes": absolute(params.genes)})
    inspected = [plan_deposit(row, params) for row in list_deposits(deposits)]
    planned = sorted((deposit for deposit, _ in inspected), key=lambda d: (d.name, d.sha256))
    _refuse_copies(planned)
    n_obs = {deposit.name: n for deposit, n in inspected}
    predicted = forecast([(d.format, d.bytes, n_obs[d.name]) for d in planned])
    progress.stage("plan", "deposits digested", deposits=len(planned), **predicted)
    masks = LeftOut(workspace).of([d.sha256 for d in planned]) if workspace else {}
    content = _content(params, _without(planned, masks), predicted)
    if content is None:
        raise BadDeposit(
            "every observation is of a donor who has withdrawn", where=", ".join(deposits)
        )
    if masks:
        progress.notice("plan", "observations of donors who have withdrawn are left out")
    return content


def without(content: dict[str, Any], masks: Mapping[str, str]) -> dict[str, Any] | None:
    """The plan of the same deposits and params without some observations.

    Args:
        content: of a `plan.json`.
        masks: digest of a deposit -> packed mask of the observations to leave out. A deposit of
            which nothing stays is not in the new plan.

    Returns:
        The content of a `plan.json`; None when no deposit stays.

    Raises:
        BadAddress: the plan's table of genes is gone.
    """
    deposits = [PlannedDeposit(**entry) for entry in content["deposits"]]
    params = IngestParams.checked(**content["params"])
    return _content(params, _without(deposits, masks), content["predicted"])


def _without(deposits: list[PlannedDeposit], masks: Mapping[str, str]) -> list[PlannedDeposit]:
    masked = [replace(d, left_out=masks.get(d.sha256, d.left_out)) for d in deposits]
    return [d for d in masked if not (d.left_out and unpacked(d.left_out).all())]


def _content(
    params: IngestParams, deposits: list[PlannedDeposit], predicted: dict[str, Any]
) -> dict[str, Any] | None:
    if not deposits:
        return None
    return {
        "schema": PLAN_SCHEMA,
        "fingerprint": fingerprint(
            params, deposits, sha256_of(params.genes) if params.genes else ""
        ),
        "params": params.model_dump(),
        "deposits": [deposit.as_json() for deposit in deposits],
        "predicted": predicted,
    }


def write_plan(content: dict[str, Any], workspace: str) -> str:
    """Write `plan.json`, and give its address.

    A plan may be replaced (deposits move) until the cohort it led to is there.
    """
    address = join(workspace, "cohorts", content["fingerprint"])
    store, plan = open_store(address), manifest_json(content)
    if not store.put_if_absent("plan.json", plan) and not store.exists(Cohort.NAME):
        store.put("plan.json", plan)
    return join(address, "plan.json")


def fingerprint(params: IngestParams, deposits: list[PlannedDeposit], genes_sha256: str) -> str:
    """The cohort's address among all cohorts: of bytes, study columns and params, no address."""
    ordered = sorted(deposits, key=lambda d: (d.sha256, d.name))
    content = {
        "schema": Cohort.SCHEMA,
        "deposits": [_counted_of(d) for d in ordered],
        "params": _counted(params) | {"genes": genes_sha256},
    }
    return content_key(content)


def _counted_of(deposit: PlannedDeposit) -> list[Any]:
    left_out = [deposit.left_out] if deposit.left_out else []
    return [deposit.sha256, deposit.metadata_sha256, deposit.study, *left_out]


def _counted(params: IngestParams) -> dict[str, Any]:
    """The params that make a cohort; one that came later counts where it says something."""
    later = {name for name in ("control",) if not getattr(params, name)}
    return params.model_dump(exclude=later)


def sha256_of(address: str) -> str:
    """The digest of one object's bytes; BadAddress if there is none."""
    folder, name = parent(address)
    with open_store(folder).local_copy(name) as path:
        return file_sha256(path)


def plan_deposit(listed: Listed, params: IngestParams) -> tuple[PlannedDeposit, int]:
    """One deposit, and how many observations it will have.

    Raises:
        BadInput: it is not there, cannot be read, or lacks a column that the params name.
    """
    located = locate(listed.address)
    with located.local() as files:
        form = deposit_format(files, listed.address)
        n_obs = FORMATS[form].count(files, listed.address)
        size = sum(path.stat().st_size for path in files.values())
        digest = deposit_sha256(files)
    metadata_sha256, columns = _metadata(listed.metadata)
    if form != "h5ad":  # the others know of their observations what the metadata table says
        refuse_absent_columns(params, listed.study, columns, listed.address)
    deposit = PlannedDeposit(
        name=listed.study["deposit"],
        address=listed.address,
        metadata=listed.metadata or None,
        format=form,
        bytes=size,
        sha256=digest,
        metadata_sha256=metadata_sha256,
        study=listed.study,
    )
    return deposit, n_obs


def _metadata(address: str) -> tuple[str | None, list[str]]:
    """The digest and the columns of a metadata table."""
    if not address:
        return None, []
    folder, name = parent(address)
    try:
        with open_store(folder).local_copy(name) as path:
            return file_sha256(path), metadata_columns(path, address)
    except BadAddress as error:
        raise BadAddress(
            "there is no metadata table here", where=address, do="correct column 'metadata'"
        ) from error


def _refuse_copies(deposits: list[PlannedDeposit]) -> None:
    first: dict[str, PlannedDeposit] = {}
    for deposit in deposits:
        other = first.setdefault(deposit.sha256, deposit)
        if other is not deposit:
            raise BadDeposit(
                f"has the same bytes as {other.address}",
                where=deposit.address,
                do="list every deposit once: its cells would count twice",
            )
