"""What AWS Batch and HealthOmics share: a client, a role's form, errors in one line."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from levelseq.errors import BadOption, StoreUnavailable

__all__ = ["check_place", "client_of", "said"]

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")


def check_place(role: str, region: str) -> None:
    """BadOption unless a role is an ARN and a region is named as AWS does."""
    if not _REGION.fullmatch(region):
        raise BadOption(f"{region} is not a region of AWS", where="--region", do="use us-east-1")
    if not _ROLE.fullmatch(role):
        raise BadOption(
            f"{role} is not a role's ARN", where="--role", do="use arn:aws:iam::ACCOUNT:role/NAME"
        )


def client_of(service: str, region: str) -> Any:
    """boto3's client of a service.

    Another endpoint (`AWS_ENDPOINT_URL`) is one server for all: it has no host of its own for
    each part of a service.
    """
    import boto3
    from botocore.config import Config

    names = ("AWS_ENDPOINT_URL", f"AWS_ENDPOINT_URL_{service.upper()}")
    elsewhere = any(os.environ.get(name) for name in names)
    # Typed stubs, where there are any, want a literal name.
    make: Any = boto3.client
    return make(service, region_name=region, config=Config(inject_host_prefix=not elsewhere))


@contextlib.contextmanager
def said(service: str) -> Iterator[None]:
    """botocore's errors as levelseq's."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        ParamValidationError,
        WaiterError,
    )

    try:
        yield
    except ClientError as error:
        what, status = error.response["Error"], error.response["ResponseMetadata"]
        if status["HTTPStatusCode"] == 429 or status["HTTPStatusCode"] >= 500:
            raise StoreUnavailable(
                f"{service} does not answer", where=service, do="try again"
            ) from error
        line = f"{service} refuses the request: {what.get('Message') or what.get('Code')}"
        raise BadOption(line, where=error.operation_name) from error
    except NoCredentialsError as error:
        raise BadOption(
            "no AWS credentials found", where=service, do="set AWS_PROFILE or AWS_ACCESS_KEY_ID"
        ) from error
    except (ParamValidationError, WaiterError) as error:
        raise BadOption(f"{service} refuses the request: {error}", where=service) from error
    except (HTTPClientError, BotoCoreError) as error:
        raise StoreUnavailable(
            f"{service} does not answer", where=service, do="try again"
        ) from error
