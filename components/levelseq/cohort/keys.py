"""Content decides the address: fingerprints of cohorts and keys of what is made from them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["canonical_json", "content_key", "manifest_json"]


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def content_key(value: Any) -> str:
    """The first 32 hex digits of the sha256 over canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()[:32]


def manifest_json(value: Any) -> bytes:
    """The bytes of a manifest: JSON with sorted keys that a person can read, no NaN."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()
