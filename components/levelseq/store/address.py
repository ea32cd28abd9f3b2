"""Addresses: bare path, `file://`, `s3://`, `memory://`. The scheme chooses the store."""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import obstore.store

from levelseq.errors import BadAddress, BadOption
from levelseq.store.objects import Store

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
        address: a bare path, `file://`, `s3://bucket/prefix` or `memory://name`. S3 takes its
            credentials, region and endpoint as boto3 does (`AWS_ENDPOINT_URL` for other servers).

    Raises:
        BadOption: the scheme is not one that levelseq reads, or there are no credentials.
    """
    scheme, rest = split_scheme(address)
    if scheme == "file":
        folder = Path(unquote(rest) if "://" in address else rest).absolute()
        return Store(address, lambda sub: obstore.store.LocalStore(folder / sub), folder)
    bucket, _, prefix = rest.strip("/").partition("/")
    if not bucket:
        raise BadOption("names no bucket", where=address)
    if scheme == "memory":
        return Store(address, lambda sub: _memory(bucket), prefix=prefix)
    if scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        _credentials(bucket)
        return Store(address, lambda sub: _s3(bucket, f"{prefix}/{sub}".strip("/"), endpoint))
    raise BadOption(
        f"{scheme}:// is not an address that levelseq reads",
        where=address,
        do="use a path, file:// or s3://",
    )


@lru_cache(maxsize=64)
def _memory(name: str) -> obstore.store.MemoryStore:
    return obstore.store.MemoryStore()


@lru_cache(maxsize=8)
def _session() -> boto3.Session:
    return boto3.Session()


def _credentials(bucket: str) -> None:
    if _session().get_credentials() is None:
        raise BadOption(
            "no AWS credentials found",
            where=f"s3://{bucket}",
            do="set AWS_PROFILE, AWS_ACCESS_KEY_ID or the pod's role",
        )


@lru_cache(maxsize=256)
def _s3(bucket: str, prefix: str, endpoint: str) -> obstore.store.S3Store:
    from obstore.auth.boto3 import Boto3CredentialProvider

    options: dict[str, Any] = {"region": _session().region_name or "us-east-1"}
    if endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    return obstore.store.S3Store(
        bucket,
        prefix=prefix or None,
        credential_provider=Boto3CredentialProvider(_session()),
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config={"max_retries": 4},
        **options,
    )


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
