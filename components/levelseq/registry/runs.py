"""The name of a run, its folder, and which run a Kubeflow job became."""

from __future__ import annotations

from typing import Any

from levelseq.cohort.keys import content_key, manifest_json
from levelseq.errors import BadAddress
from levelseq.store import join, open_store, read_json

__all__ = ["aside_of_job", "remember_job", "run_folder", "run_id", "run_of_job"]


def run_id(content: dict[str, Any]) -> str:
    """16 hex digits of what a run is made of: the same inputs and params, the same run."""
    return content_key(content)[:16]


def run_folder(workspace: str, run: str) -> str:
    """The address of `runs/<run>`: verdict, report and error."""
    return join(workspace, "runs", run)


def remember_job(
    workspace: str, job: str, run: str, note: str = "", aside: list[str] | None = None
) -> None:
    """Write which run a Kubeflow job became, or why none: its exit handler is told the job only.

    Args:
        aside: what was set aside before the run, a line each; what was written of it stays.
    """
    if job:
        kept = aside_of_job(workspace, job) if aside is None else aside
        content = {"schema": "levelseq.job/1", "run": run, "note": note, "aside": kept}
        open_store(join(workspace, "jobs")).put(f"{job}.json", manifest_json(content))


def run_of_job(workspace: str, job: str) -> tuple[str, str]:
    """The run that a job became and a note; empty when it came to neither."""
    content = _job(workspace, job)
    return str(content.get("run", "")), str(content.get("note", ""))


def aside_of_job(workspace: str, job: str) -> list[str]:
    """What was set aside before a job's run, a line each."""
    return list(_job(workspace, job).get("aside", []))


def _job(workspace: str, job: str) -> dict[str, Any]:
    try:
        return read_json(join(workspace, "jobs", f"{job}.json"))
    except BadAddress:
        return {}
