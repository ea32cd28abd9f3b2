"""JSON schemas of the manifests (draft 2020-12), a file a kind; keys may come within a version."""

from __future__ import annotations

from importlib import resources

__all__ = ["KINDS", "schema_text"]

KINDS = (
    *("verdict", "cohort", "plan", "normalized", "model", "baseline", "log", "champion"),
    *("withdrawal", "run", "cost", "error"),
)


def schema_text(kind: str) -> str:
    """The schema of one of `KINDS`, as JSON."""
    return resources.files(__package__).joinpath(f"{kind}.json").read_text(encoding="utf-8")
