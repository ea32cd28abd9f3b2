"""Checked deposits on the store: what one pod has read, another one assembles."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from levelseq.cohort import manifest_json
from levelseq.errors import BadAddress
from levelseq.ingest.deposit import CheckedDeposit
from levelseq.ingest.plan import PlannedDeposit
from levelseq.store import Store

__all__ = ["clear", "is_staged", "stage", "staged"]

_FOLDER = "checked"
_NAME = "deposit.json"
_FACTS = ("genes", "mito", "n_obs", "removed", "largest")


def stage(store: Store, number: int, deposit: CheckedDeposit) -> None:
    """Put a checked deposit's blocks below a cohort's folder, and what is known of it last."""
    blocks = sorted(deposit.scratch.glob("block-*.npz"))
    for block in blocks:
        store.put(_path(number, block.name), block.read_bytes())
    facts = {name: value for name, value in asdict(deposit).items() if name in _FACTS}
    content = {**facts, "blocks": [block.name for block in blocks]}
    store.put(_path(number, _NAME), manifest_json(content))


def is_staged(store: Store, number: int) -> bool:
    """Whether a deposit has been checked and staged."""
    return store.exists(_path(number, _NAME))


def staged(
    store: Store, number: int, planned: PlannedDeposit, scratch: Path
) -> CheckedDeposit | None:
    """A staged deposit with its blocks on local scratch, or None if it is not there whole.

    Another task that has assembled the same cohort may be clearing while this one reads.
    """
    try:
        content: dict[str, Any] = json.loads(store.get(_path(number, _NAME)))
        for block in content["blocks"]:
            (scratch / block).write_bytes(store.get(_path(number, block)))
    except BadAddress:
        for path in scratch.iterdir():
            path.unlink()
        return None
    facts = {name: content[name] for name in _FACTS}
    return CheckedDeposit(planned, scratch=scratch, **facts)


def clear(store: Store) -> None:
    """Take everything staged away: the cohort has it now.

    What names the blocks goes first, so that nobody who begins to read misses one.
    """
    for path in store.list(_FOLDER):
        if path.endswith(f"/{_NAME}"):
            store.delete(path)
    store.delete_folder(_FOLDER)


def _path(number: int, name: str) -> str:
    return f"{_FOLDER}/{number:06d}/{name}"
