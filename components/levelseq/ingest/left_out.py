"""Observations whose donors have withdrawn: every later plan leaves them out.

`withdrawn/<sha256 of a deposit>.json` says which of a deposit's observations, by their place in
it. Nothing in it comes from a donor's id, not even a digest: such ids are short and few, so that
any digest of one is found by trying. Places tell no more than deposit and cohort do together.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.cohort.keys import manifest_json
from levelseq.errors import Conflict
from levelseq.store import join, open_store

__all__ = ["LeftOut", "packed", "unpacked"]

SCHEMA = "levelseq.withdrawn/1"

Mask = NDArray[np.bool_]


def packed(mask: Mask) -> str:
    """A mask (observations,) as text: its length, and its bits in base64."""
    return f"{len(mask)}:{base64.b64encode(np.packbits(mask).tobytes()).decode('ascii')}"


def unpacked(text: str) -> Mask:
    """The mask (observations,) that `packed` made a text of."""
    length, _, bits = text.partition(":")
    found = np.unpackbits(np.frombuffer(base64.b64decode(bits), dtype=np.uint8), count=int(length))
    return found.astype(bool)


class LeftOut:
    """`withdrawn/` of a workspace: packed masks by the digest of a deposit; they only grow."""

    def __init__(self, workspace: str) -> None:
        self._store = open_store(join(workspace, "withdrawn"))

    def of(self, deposits: list[str]) -> dict[str, str]:
        """Digest -> packed mask, of those deposits that have one."""
        there = set(self._store.list())
        return {
            sha256: str(json.loads(self._store.get(_path(sha256)))["observations"])
            for sha256 in deposits
            if _path(sha256) in there
        }

    def add(self, sha256: str, mask: Mask) -> None:
        """Leave more of a deposit's observations out."""
        while True:
            found = self._store.get_versioned(_path(sha256))
            content: dict[str, Any] = {"schema": SCHEMA, "observations": packed(mask)}
            if found:
                before = str(json.loads(found.content)["observations"])
                content["observations"] = packed(mask | unpacked(before))
                if content["observations"] == before:
                    return
            try:
                version = found.version if found else None
                return self._store.put_if_version(_path(sha256), manifest_json(content), version)
            except Conflict:
                continue


def _path(sha256: str) -> str:
    return f"{sha256}.json"
