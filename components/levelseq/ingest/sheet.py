"""Which deposits there are: the sheet's rows, or the addresses themselves."""

from __future__ import annotations

import codecs
import re
import zlib
from dataclasses import dataclass

from levelseq.errors import BadDeposit, BadOption
from levelseq.ingest.qc import QC_COLUMNS
from levelseq.ingest.readers.csv import split_fields
from levelseq.ingest.tables import read_table
from levelseq.store import absolute, join, open_store, parent

__all__ = ["Listed", "deposit_name", "list_deposits", "named_deposits"]

_SHEET = re.compile(r"\.(csv|tsv|txt)(\.gz)?$", re.I)
_EXTENSIONS = re.compile(r"(\.(csv|tsv|txt|h5ad|h5|hdf5|mtx))?(\.gz)?$", re.I)
_FILE = re.compile(r"\w\.(csv|tsv|txt|h5ad|h5|hdf5|mtx)(\.gz)?$", re.I)
_HEADER = 1 << 16
_HEAD_LINES = 6


@dataclass(frozen=True)
class Listed:
    """One deposit as a user lists it.

    Attributes:
        address: absolute.
        metadata: absolute address of the table about its observations, or ''.
        study: study column -> value; `deposit` is among them and unique.
    """

    address: str
    metadata: str
    study: dict[str, str]


def deposit_name(address: str) -> str:
    """The last name of an address without the extensions of formats."""
    return _EXTENSIONS.sub("", parent(address)[1])


def list_deposits(deposits: list[str]) -> list[Listed]:
    """Every deposit behind the addresses.

    Args:
        deposits: one sheet (.csv or .tsv with a column `address`), or addresses of deposits.

    Raises:
        BadOption: none given, or a sheet among deposits.
        BadDeposit: the sheet is empty or names a deposit or a column twice.
    """
    if not deposits:
        raise BadOption("no deposits given", where="--deposits", do="give a sheet or addresses")
    sheets = [address for address in deposits if _is_sheet(address)]
    if not sheets:
        return named_deposits(deposits)
    if len(deposits) > 1:
        raise BadOption(
            "a sheet stands among other deposits", where=sheets[0], do="list them in the sheet"
        )
    return _named(_rows(absolute(sheets[0])), sheets[0])


def named_deposits(addresses: list[str]) -> list[Listed]:
    """Deposits at addresses of which none is a sheet's; nothing is read.

    Raises:
        BadDeposit: an address is there twice.
    """
    return _named([Listed(absolute(address), "", {}) for address in addresses], "--deposits")


def _is_sheet(address: str) -> bool:
    """Whether the header of a text file has a column `address`; only its head is read."""
    if not _SHEET.search(address):
        return False
    lines = _head(address)
    header = [split_fields(lines[0], delimiter, address) for delimiter in (",", "\t")]
    if any("address" in names for names in header):
        return True
    if any(_lists_addresses(line) for line in lines[1:]):
        there = max(header, key=len)
        raise BadDeposit(
            "has no column 'address'",
            where=address,
            do=f"rename the column that lists the deposits; columns there are: {', '.join(there)}",
        )
    return False


def _head(address: str) -> list[str]:
    """The first lines of a text file, the header at least; the last one may be cut off.

    Raises:
        BadDeposit: it is empty, is not text, or has lone carriage returns for line ends.
    """
    folder, name = parent(address)
    store = open_store(folder)
    size = store.size(name)
    if not size:
        raise BadDeposit("is empty", where=address, do="give a header and one row a deposit")
    head = store.get_range(name, 0, min(size, _HEADER))
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, _HEADER)
        except zlib.error as error:
            raise BadDeposit(
                "is truncated or damaged", where=address, do="copy it again and compare checksums"
            ) from error
    save = "save it as UTF-8 CSV with line feeds"
    try:
        # Not final: a character may be cut off at the end.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError as error:
        raise BadDeposit("is not text in UTF-8", where=address, do=save) from error
    if "\0" in text:
        raise BadDeposit("is not text in UTF-8", where=address, do=save)
    lines = [line.rstrip("\r") for line in text.split("\n")]
    if "\r" in lines[0]:
        raise BadDeposit("line ends are lone carriage returns", where=address, do=save)
    return lines[:_HEAD_LINES]


def _lists_addresses(line: str) -> bool:
    """Whether a row names a file: by its extension, or by a path in a row without a number."""
    fields = [field.strip().strip('"') for field in re.split("[,\t]", line)]
    if any(_FILE.search(field) for field in fields):
        return True
    return any("/" in field for field in fields) and not any(map(_is_number, fields))


def _is_number(field: str) -> bool:
    try:
        float(field or "nan")
    except ValueError:
        return field == "NA"
    return True


def _rows(sheet: str) -> list[Listed]:
    table = read_table(sheet)
    if not len(table):
        raise BadDeposit("lists no deposits", where=sheet, do="write one row a deposit")
    study = [name for name in table.columns if name not in ("address", "metadata", "")]
    taken = [name for name in study if name in QC_COLUMNS]
    if taken:
        raise BadDeposit(
            f"column {taken[0]!r} is one that ingest computes", where=sheet, do="rename the column"
        )
    folder = parent(sheet)[0]
    listed = []
    for number, row in enumerate(table.to_dict("records")):
        if not row["address"]:
            raise BadDeposit(
                f"row {number + 1} has no address", where=sheet, do="fill in column 'address'"
            )
        metadata = join(folder, row["metadata"]) if row.get("metadata") else ""
        values = {name: row[name] for name in study}
        listed.append(Listed(join(folder, row["address"]), metadata, values))
    return listed


def _named(listed: list[Listed], where: str) -> list[Listed]:
    """The same with a study column `deposit`: that of the sheet, its `sample`, or the file's name.

    Nothing but these has to be unique for the cells of two deposits to be told apart.
    """
    addresses = [row.address.rstrip("/") for row in listed]
    _refuse_twice("address", addresses, where, "list every deposit once")
    given = [row.study.get("deposit", "") for row in listed]
    if not any(given):
        given = [row.study.get("sample", "") for row in listed]
        if "" in given or _twice(given):
            given = _file_names([row.address for row in listed])
    own = "give every row its own name in a column 'deposit'"
    if "" in given:
        raise BadDeposit(f"row {given.index('') + 1} has no name in 'deposit'", where=where, do=own)
    _refuse_twice("name", given, where, own)
    pairs = zip(listed, given)
    # Sorted as in plan.json, so that errors and cohorts are the same with and without that file.
    return [
        Listed(r.address, r.metadata, dict(sorted({**r.study, "deposit": name}.items())))
        for r, name in pairs
    ]


def _refuse_twice(noun: str, names: list[str], where: str, do: str) -> None:
    twice = _twice(names)
    if twice:
        first = names.index(twice)
        second = names.index(twice, first + 1)
        rows = "deposits" if where == "--deposits" else "rows"
        raise BadDeposit(
            f"{rows} {first + 1} and {second + 1} have the same {noun} {twice!r}",
            where=where,
            do=do,
        )


def _file_names(addresses: list[str]) -> list[str]:
    """File names; where those recur (`filtered_feature_bc_matrix`), with folders before them."""
    parts = [[*parent(address)[0].split("/"), deposit_name(address)] for address in addresses]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if not _twice(names):
            return names
    return ["/".join(part) for part in parts]


def _twice(names: list[str]) -> str | None:
    return next((name for name in names if name and names.count(name) > 1), None)
