"""The name of a run, its folder, and which run a Kubeflow job became."""

from __future__ import annotations

from typing import Any

from levelseq.cohort.keys import content_key, manifest_json
from levelseq.errors import BadAddress
from levelseq.store import join, open_store, read_json

__all__ = ["remember_job", "run_folder", "run_id", "run_of_job"]


def run_id(content: dict[str, Any]) -> str:
    """16 hex digits of what a run is made of: the same inputs and params, the same run."""
    return content_key(content)[:16]


def run_folder(workspace: str, run: str) -> str:
    """The address of `runs/<run>`: verdict, report and error."""
    return join(workspace, "runs", run)


def remember_job(workspace: str, job: str, run: str, note: str = "") -> None:
    """Write which run a Kubeflow job became, or why none: its exit handler is told the job only."""
    if job:
        content = {"schema": "levelseq.job/1", "run": run, "note": note}
        open_store(join(workspace, "jobs")).put(f"{job}.json", manifest_json(content))


def run_of_job(workspace: str, job: str) -> tuple[str, str]:
    """The run that a job became and a note; empty when it came to neither."""
    try:
        content = read_json(join(workspace, "jobs", f"{job}.json"))
    except BadAddress:
        return "", ""
    return str(content["run"]), str(content["note"])
