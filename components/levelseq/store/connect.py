"""Which library opens a scheme, with which credentials and settings."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import boto3
import obstore.store

from levelseq.errors import BadOption
from levelseq.store.aws_errors import said
from levelseq.store.backend import Backend
from levelseq.store.encryption import az_scope, s3_options
from levelseq.store.obstores import Memory, Remote

__all__ = ["BUCKETS", "forget_connections"]

_AZ_ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"
# Any of these says how an Azure account is entered; the library reads them itself.
_AZ_CREDENTIALS = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_CREDENTIAL_TYPE",
    "AZURE_USE_AZURE_CLI",
    "AZURE_SKIP_SIGNATURE",
)
_RETRIES: Any = {"max_retries": 4}


def _below(prefix: str, sub: str) -> str:
    return f"{prefix}/{sub}".strip("/")


def memory(bucket: str, prefix: str) -> Backend:
    """A store of this process."""
    return Memory(_memory(bucket), prefix)


def s3(bucket: str, prefix: str) -> Backend:
    """Credentials, region and endpoint are found as boto3 finds them."""
    where = f"s3://{bucket}"
    with said("AWS", where):
        credentials = _session().get_credentials()
        if credentials is not None:
            # A login that ran out is seen here alone; obstore would lose what botocore says.
            credentials.get_frozen_credentials()
    if credentials is None:
        raise BadOption(
            "no AWS credentials found",
            where=where,
            do="set AWS_PROFILE, AWS_ACCESS_KEY_ID or the pod's role",
        )
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    encryption = tuple(sorted(s3_options().items()))
    return Remote(lambda sub: _s3(bucket, _below(prefix, sub), endpoint, encryption))


def az(container: str, prefix: str) -> Backend:
    """The account's name and how it is entered stand in the environment.

    `AZURE_STORAGE_ACCOUNT_NAME` and one of: a key, a SAS token, a service principal, a pod's
    workload identity (`AZURE_FEDERATED_TOKEN_FILE`), or
    `AZURE_CREDENTIAL_TYPE=managed_identity` for the identity of the machine.
    """
    where = f"az://{container}"
    if not os.environ.get(_AZ_ACCOUNT):
        raise BadOption("no storage account is named", where=where, do=f"set {_AZ_ACCOUNT}")
    if not any(os.environ.get(name) for name in _AZ_CREDENTIALS):
        raise BadOption(
            "no Azure credentials found",
            where=where,
            do=f"set {_AZ_CREDENTIALS[0]}, AZURE_STORAGE_SAS_TOKEN, or"
            " AZURE_CREDENTIAL_TYPE=managed_identity",
        )
    scope = az_scope() or ""
    return Remote(
        lambda sub: _az(container, _below(prefix, sub), ""),
        lambda sub: _az(container, _below(prefix, sub), scope),
    )


def gs(bucket: str, prefix: str) -> Backend:
    """Credentials are Google's application default ones."""
    # Half a second of imports that no other address needs.
    from levelseq.store.google import GoogleBucket

    return GoogleBucket(bucket, prefix)


BUCKETS = {"s3": s3, "gs": gs, "az": az, "memory": memory}


@lru_cache(maxsize=64)
def _memory(name: str) -> obstore.store.MemoryStore:
    return obstore.store.MemoryStore()


@lru_cache(maxsize=8)
def _session() -> boto3.Session:
    return boto3.Session()


@lru_cache(maxsize=256)
def _s3(
    bucket: str, prefix: str, endpoint: str, encryption: tuple[tuple[str, str], ...]
) -> obstore.store.S3Store:
    from obstore.auth.boto3 import Boto3CredentialProvider

    region = _session().region_name or os.environ.get("AWS_REGION", "us-east-1")
    options: dict[str, Any] = {"region": region, **dict(encryption)}
    if endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    return obstore.store.S3Store(
        bucket,
        prefix=prefix or None,
        credential_provider=Boto3CredentialProvider(_session()),
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config=_RETRIES,
        **options,
    )


@lru_cache(maxsize=256)
def _az(container: str, prefix: str, scope: str) -> obstore.store.AzureStore:
    endpoint = os.environ.get("AZURE_STORAGE_ENDPOINT") or os.environ.get("AZURE_ENDPOINT", "")
    options: Any = {"allow_http": endpoint.startswith("http://")}
    if scope:
        options |= {"default_headers": {"x-ms-encryption-scope": scope}}
    return obstore.store.AzureStore(
        container, prefix=prefix or None, client_options=options, retry_config=_RETRIES
    )


def forget_connections() -> None:
    """Sessions and stores were made for another environment."""
    _session.cache_clear()
    _s3.cache_clear()
    _az.cache_clear()
