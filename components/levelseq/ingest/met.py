"""Deposits as a look meets them: listed, with the digests of their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from levelseq.errors import BadAddress, BadDeposit
from levelseq.ingest.files import deposit_sha256, is_one_file, locate
from levelseq.ingest.looks import Looks
from levelseq.ingest.plan import sha256_of
from levelseq.ingest.sheet import Listed, list_deposits, named_deposits
from levelseq.ingest.stamps import PART_NAMES, Stamps, settled, version_of
from levelseq.store import Stamp, join, open_store

__all__ = ["Digests", "Met", "list_arrivals", "meet", "versions_of"]


class Digests(NamedTuple):
    """Of a deposit's bytes and of its metadata table's, None where it has none."""

    deposit: str
    metadata: str | None


@dataclass(frozen=True)
class Met:
    """One listed deposit.

    Attributes:
        row: as it is listed.
        versions: of its objects and of its metadata table, from before anything was read.
        digests: None where there is an error.
        error: why it has none.
    """

    row: Listed
    versions: tuple[str, str]
    digests: Digests | None
    error: BadDeposit | None = None


def list_arrivals(deposits: list[str]) -> tuple[list[Listed], Stamps]:
    """The deposits, those of a folder where one is given in their place, and their stamps.

    Raises:
        BadInput: a sheet is wrong, or a folder holds no deposits.
    """
    if len(deposits) != 1 or is_one_file(deposits[0]):
        return list_deposits(deposits), Stamps()
    folder = deposits[0]
    there = open_store(folder).stamps()
    tenx = {_folder(path) for path in there if path.rsplit("/", 1)[-1] in PART_NAMES}
    if "" in tenx:
        return list_deposits(deposits), Stamps()
    files = [path for path in there if is_one_file(path) and _folder(path) not in tenx]
    if not files and not tenx:
        raise BadAddress("holds no deposits", where=folder, do="check the address")
    named = named_deposits([join(folder, path) for path in sorted([*files, *tenx])])
    return named, Stamps(folder, there)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def meet(row: Listed, stamps: Stamps, looks: Looks) -> Met:
    """Digest a deposit, or take its digests from an earlier look at the same version.

    Raises:
        BadAddress: access is denied.
        StoreUnavailable: a store does not answer.
    """
    own, table = _stamps(row, stamps)
    versions = (version_of(own), version_of(table))
    try:
        digests = Digests(_deposit(row, own, looks), _table(row, table, looks))
    except BadDeposit as error:
        return Met(row, versions, None, error)
    return Met(row, versions, digests)


def versions_of(row: Listed) -> tuple[str, str]:
    """The versions of a deposit's objects and of its metadata table as they are now."""
    own, table = _stamps(row, Stamps())
    return version_of(own), version_of(table)


def _stamps(row: Listed, stamps: Stamps) -> tuple[dict[str, Stamp], dict[str, Stamp]]:
    return stamps.of(row.address), stamps.of(row.metadata) if row.metadata else {}


def _deposit(row: Listed, stamps: dict[str, Stamp], looks: Looks) -> str:
    version = version_of(stamps)
    if stamps and (known := looks.digest(row.address, version)):
        return known
    try:
        with locate(row.address).local() as files:
            digest = deposit_sha256(files)
    except BadAddress as error:
        if Stamps().of(row.address):
            raise
        # Listed before it has come, or gone since it was listed.
        raise BadDeposit(error.message, where=error.where, do="deliver it") from error
    if settled(stamps):
        looks.remember_digest(row.address, version, digest)
    return digest


def _table(row: Listed, stamps: dict[str, Stamp], looks: Looks) -> str | None:
    if not row.metadata:
        return None
    if not stamps:
        raise BadDeposit("there is no metadata table here", where=row.metadata, do="deliver it")
    version = version_of(stamps)
    known = looks.digest(row.metadata, version)
    digest = known or sha256_of(row.metadata)
    if not known and settled(stamps):
        looks.remember_digest(row.metadata, version, digest)
    return digest
