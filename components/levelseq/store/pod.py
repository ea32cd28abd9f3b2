"""What a pod may be told of its store: the keys of one optional secret."""

from __future__ import annotations

from levelseq.store.encryption import VARIABLES

__all__ = ["POD_SECRET", "POD_VARIABLES"]

POD_SECRET = "levelseq-store"
POD_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    *VARIABLES,
)
"""A cluster without the secret, or without a key of it, uses the pod's own identity."""
