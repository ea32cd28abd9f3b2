"""What a pod may be told of its store: the keys of one optional secret."""

from __future__ import annotations

from levelseq.store.encryption import VARIABLES

__all__ = ["POD_SECRET", "POD_VARIABLES", "pod_variables"]

POD_SECRET = "levelseq-store"
_S3 = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")
_AZ = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN")
POD_VARIABLES = (*_S3, *_AZ, *VARIABLES)
"""A cluster without the secret, or without a key of it, uses the pod's own identity."""

_OF = {
    "s3": tuple(name for name in POD_VARIABLES if name.startswith("AWS_")),
    "gs": (*_S3, *(name for name in VARIABLES if "_GS_" in name)),
    "az": (*_S3, *_AZ, *(name for name in VARIABLES if "_AZ_" in name)),
}


def pod_variables(scheme: str) -> tuple[str, ...]:
    """Those for a cloud's own store, `s3`, `gs` or `az`, and for S3-compatible ones anywhere."""
    return _OF[scheme]
