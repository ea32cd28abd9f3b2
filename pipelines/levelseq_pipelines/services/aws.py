"""What AWS Batch and HealthOmics share: a client and a role's form."""

from __future__ import annotations

import os
import re
from typing import Any

from levelseq.errors import BadOption

__all__ = ["check_place", "client_of"]

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
