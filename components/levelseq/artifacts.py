"""What Kubeflow carries from task to task: an address with a few facts, and what a person reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from levelseq.cohort import manifest_json
from levelseq.store import join, parent, read_bytes, read_json
from levelseq.verdict import summary_lines

__all__ = ["Artifact", "address_of", "hand_on", "picked", "show"]


class Artifact(Protocol):
    """What a door sees of a Kubeflow artifact; anything with a path and metadata will do."""

    path: str
    metadata: dict[str, Any]


def show(address: str, metrics: Artifact, report: Artifact, summary: Artifact) -> dict[str, Any]:
    """A verdict as the dashboard shows it; the verdict's content."""
    content = read_json(address)
    numbers = {gate["name"]: gate["value"] for gate in content["gates"]} | content["scores"]
    facts = {key: float(value) for key, value in numbers.items() if isinstance(value, int | float)}
    hand_on(metrics, address, facts | picked(content, "data", "model_decision"))
    report.metadata["address"] = join(parent(address)[0], "report.html")
    Path(report.path).write_bytes(read_bytes(report.metadata["address"]))
    bullets = "\n".join(f"- {line}" for line in summary_lines(content))
    Path(summary.path).write_text(f"### Verdict\n\n{bullets}\n", encoding="utf-8")
    return content


def hand_on(artifact: Artifact, address: str, facts: dict[str, Any]) -> None:
    """Write an address with a few facts into an artifact's file and metadata.

    Study columns stay out: they can name donors.
    """
    content = {"address": address, **facts}
    artifact.metadata.update(content)
    Path(artifact.path).parent.mkdir(parents=True, exist_ok=True)
    Path(artifact.path).write_bytes(manifest_json(content))


def address_of(artifact: Artifact) -> str:
    """The address that an artifact carries."""
    return str(artifact.metadata["address"])


def picked(manifest: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Those keys of a manifest that say something."""
    return {key: manifest[key] for key in keys if manifest.get(key) is not None}
