"""What was made from a cohort, read from the manifests of a workspace."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from levelseq.cohort import Normalized
from levelseq.store import join, open_store, read_json

__all__ = ["Derived", "derived_from", "folders", "manifests"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Derived:
    """Names of folders and objects below a workspace, sorted.

    Attributes:
        normalized: values of those cohorts, or by their models.
        models: trained on them, or adapted or fine-tuned from a model that was.
        checkpoints: of those models, and of trainings that have not ended, whatever they are of.
        baselines: `<name>/<fingerprint>`, of those cohorts or of values by those models.
        runs: whose cohort, model or challenger is among them.
        watch: `<name>/<file>`, sheets of arrived deposits with a word of the donors or of theirs.
    """

    normalized: list[str]
    models: list[str]
    checkpoints: list[str]
    baselines: list[str]
    runs: list[str]
    watch: list[str]

    def as_json(self) -> dict[str, list[str]]:
        """By kind, as it stands in `withdrawal.json`."""
        return asdict(self)


def derived_from(workspace: str, cohorts: set[str], words: frozenset[str]) -> Derived:
    """Everything in a workspace that was made from some cohorts, at first or at tenth hand.

    Args:
        workspace: where the manifests are.
        cohorts: fingerprints.
        words: what a cell of a sheet says where it is about the donors: ids, deposits' addresses.
    """
    every = dict(manifests(workspace, "models", "model.json"))
    models = _descendants(every, cohorts)
    checkpoints = {folder for folder, _ in folders(workspace, "checkpoints")}
    return Derived(
        normalized=sorted(
            key
            for key, manifest in manifests(workspace, "normalized", Normalized.NAME)
            if _last(manifest["cohort"]) in cohorts or _last(manifest.get("model")) in models
        ),
        models=sorted(models),
        checkpoints=sorted(checkpoints & models | checkpoints - every.keys()),
        baselines=sorted(_baselines(workspace, cohorts, models)),
        runs=sorted(
            run
            for run, verdict in manifests(workspace, "runs", "verdict.json")
            if verdict["cohort"] in cohorts
            or {verdict["model"], verdict.get("challenger")} & models
        ),
        watch=sorted(_sheets(workspace, words)),
    )


def manifests(workspace: str, kind: str, name: str) -> Iterator[tuple[str, Json]]:
    """Each folder of a kind that has a manifest, and what is in that."""
    for folder, files in folders(workspace, kind):
        if name in files:
            yield folder, read_json(join(workspace, kind, folder, name))


def folders(workspace: str, kind: str) -> Iterator[tuple[str, set[str]]]:
    """Each folder of a kind, with the names of all objects in it."""
    found: dict[str, set[str]] = {}
    for path in open_store(join(workspace, kind)).list():
        folder, _, file = path.partition("/")
        found.setdefault(folder, set()).add(file)
    yield from sorted(found.items())


def _descendants(every: dict[str, Json], cohorts: set[str]) -> set[str]:
    """Keys of the models of some cohorts, and of all models made from those."""
    found = {
        key
        for key, manifest in every.items()
        if cohorts & {manifest["cohort"], *manifest.get("trained_on", ())}
    }
    while more := {k for k, m in every.items() if m.get("parent") in found} - found:
        found |= more
    return found


def _baselines(workspace: str, cohorts: set[str], models: set[str]) -> Iterator[str]:
    for name, files in folders(workspace, "baselines"):
        for file in files:
            baseline = read_json(join(workspace, "baselines", name, file))
            if baseline["cohort"] in cohorts or baseline.get("model") in models:
                yield f"{name}/{baseline['cohort']}"


def _sheets(workspace: str, words: frozenset[str]) -> Iterator[str]:
    store = open_store(join(workspace, "watch"))
    for path in (path for path in store.list() if path.endswith(".csv")):
        rows = csv.reader(io.StringIO(store.get(path).decode()))
        if any(words & set(row) for row in rows):
            yield path


def _last(address: str | None) -> str:
    """The folder's name in an address: a fingerprint or a key."""
    return (address or "").rstrip("/").rpartition("/")[2]
