"""Encryption that a store's server does with a key that is not its default, set by environment.

| address | variable | value |
|---|---|---|
| `s3://` | `AWS_SERVER_SIDE_ENCRYPTION` | `AES256` (SSE-S3), `aws:kms` or `aws:kms:dsse` |
| `s3://` | `AWS_SSE_KMS_KEY_ID` | the key's id or ARN, with one of the two `aws:kms` |
| `gs://` | `LEVELSEQ_GS_KMS_KEY` | `projects/P/locations/L/keyRings/R/cryptoKeys/K` |
| `az://` | `LEVELSEQ_AZ_ENCRYPTION_SCOPE` | the name of one of the account's encryption scopes |

Only writes name a key: servers decrypt for whoever may read. The two AWS variables are those that
other programs over the same library read. None of them is a secret.
"""

from __future__ import annotations

import os
import re

from levelseq.errors import BadOption

__all__ = ["VARIABLES", "az_scope", "gs_key", "s3_options"]

VARIABLES = (
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "LEVELSEQ_GS_KMS_KEY",
    "LEVELSEQ_AZ_ENCRYPTION_SCOPE",
)
_S3, _S3_KEY, _GS_KEY, _AZ_SCOPE = VARIABLES
_ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")
_GS_NAME = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")


def s3_options() -> dict[str, str]:
    """What S3 is to be told on every write: `server_side_encryption` and `sse_kms_key_id`.

    Raises:
        BadOption: another algorithm, or a key for an algorithm that takes none.
    """
    algorithm, key = os.environ.get(_S3, ""), os.environ.get(_S3_KEY, "")
    if algorithm and algorithm not in _ALGORITHMS:
        raise BadOption(f"is {algorithm!r}", where=_S3, do=f"use {', '.join(_ALGORITHMS)}")
    if key and not algorithm.startswith("aws:kms"):
        raise BadOption("names a key that is not used", where=_S3_KEY, do=f"set {_S3}=aws:kms")
    options = {"server_side_encryption": algorithm, "sse_kms_key_id": key}
    return {name: value for name, value in options.items() if value}


def gs_key() -> str | None:
    """The customer-managed key of Google's store, or None for the bucket's own.

    Raises:
        BadOption: it is not a key's full resource name.
    """
    key = os.environ.get(_GS_KEY, "")
    if key and not _GS_NAME.fullmatch(key):
        raise BadOption(
            f"is {key!r}, not a key's resource name",
            where=_GS_KEY,
            do="use projects/P/locations/L/keyRings/R/cryptoKeys/K",
        )
    return key or None


def az_scope() -> str | None:
    """The encryption scope of an Azure account, or None for the container's own.

    Raises:
        BadOption: the store would sign with the account's key, and the signature covers headers
            that the store library cannot be told of.
    """
    scope = os.environ.get(_AZ_SCOPE, "")
    names = ("ACCOUNT_KEY", "ACCESS_KEY", "MASTER_KEY")
    signs = [name for name in names if os.environ.get(f"AZURE_STORAGE_{name}")]
    if scope and signs:
        raise BadOption(
            f"cannot be used with AZURE_STORAGE_{signs[0]}",
            where=_AZ_SCOPE,
            do="use a workload identity or AZURE_STORAGE_SAS_TOKEN, or make the scope the"
            " container's default",
        )
    return scope or None
