"""Addresses: bare path, `file://`, `s3://`, `gs://`, `az://`, `memory://`; the scheme chooses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from levelseq.errors import BadAddress, BadOption
from levelseq.store.connect import BUCKETS
from levelseq.store.objects import Store
from levelseq.store.obstores import Folder

__all__ = ["absolute", "join", "open_store", "parent", "read_bytes", "read_json", "split_scheme"]

_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://")


def split_scheme(address: str) -> tuple[str, str]:
    """Scheme (`file` for a bare path) and the rest of an address."""
    found = _SCHEME.match(address)
    return (found.group(1), address[found.end() :]) if found else ("file", address)


def absolute(address: str) -> str:
    """The same place, whatever the working directory: a bare path gets its folder."""
    return address if _SCHEME.match(address) else str(Path(address).absolute())


def join(address: str, *parts: str) -> str:
    """The address of something below another, or `parts[-1]` itself when it is absolute."""
    out = address
    for part in parts:
        rooted = _SCHEME.match(part) or part.startswith("/")
        out = part if rooted else f"{out.rstrip('/')}/{part.lstrip('/')}"
    return out


def parent(address: str) -> tuple[str, str]:
    """The folder's address and the last name: `s3://b/a/x.csv` -> (`s3://b/a`, `x.csv`)."""
    folder, _, name = address.rstrip("/").rpartition("/")
    if _SCHEME.match(address) and "/" not in split_scheme(address)[1].strip("/"):
        raise BadAddress("names a bucket and no object", where=address)
    return (folder or ("/" if address.startswith("/") else ".")), name


def open_store(address: str) -> Store:
    """The store rooted at an address; nothing is created or asked for yet.

    Args:
        address: a bare path, `file://`, `s3://bucket/prefix`, `gs://bucket/prefix`,
            `az://container/prefix` or `memory://name`. `connect.py` says where each takes its
            credentials from, `encryption.py` which key its server encrypts with.

    Raises:
        BadOption: the scheme is not one that levelseq reads, or there are no credentials.
    """
    scheme, rest = split_scheme(address)
    if scheme == "file":
        return Store(address, Folder(Path(unquote(rest) if "://" in address else rest).absolute()))
    if scheme not in BUCKETS:
        raise BadOption(
            f"{scheme}:// is not an address that levelseq reads",
            where=address,
            do="use a path, file://, s3://, gs:// or az://",
        )
    bucket, _, prefix = rest.strip("/").partition("/")
    if not bucket:
        raise BadOption("names no bucket", where=address)
    return Store(address, BUCKETS[scheme](bucket, prefix))


def read_bytes(address: str) -> bytes:
    """The bytes of one object.

    Raises:
        BadAddress: there is no such object.
        StoreUnavailable: the store did not answer.
    """
    folder, name = parent(address)
    return open_store(folder).get(name)


def read_json(address: str) -> dict[str, Any]:
    """A JSON object at an address.

    Raises:
        BadAddress: nothing there, or it is not a JSON object.
    """
    try:
        content = json.loads(read_bytes(address))
    except ValueError as error:
        raise BadAddress("is not JSON", where=address) from error
    if not isinstance(content, dict):
        raise BadAddress("is not a JSON object", where=address)
    return content
