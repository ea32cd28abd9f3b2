"""The name of a run and its folder."""

from __future__ import annotations

from typing import Any

from levelseq.cohort.keys import content_key
from levelseq.store import join

__all__ = ["run_folder", "run_id"]


def run_id(content: dict[str, Any]) -> str:
    """16 hex digits of what a run is made of: the same inputs and params, the same run."""
    return content_key(content)[:16]


def run_folder(workspace: str, run: str) -> str:
    """The address of `runs/<run>`: verdict, report and error."""
    return join(workspace, "runs", run)
