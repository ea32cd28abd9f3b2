"""What a sink is told: never a donor, a barcode, a batch or a sentence that could name one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from levelseq.registry.champion import Registry
from levelseq.registry.log import MOVES
from levelseq.registry.runs import run_folder
from levelseq.store import join, open_store, read_json

__all__ = ["Champion", "Decision", "Pointer"]


@dataclass(frozen=True)
class Pointer:
    """An object or folder where it is, and the digest of what is there."""

    address: str
    sha256: str

    @classmethod
    def to(cls, address: str) -> Pointer:
        """A folder's digest is over the sorted names and digests of its objects."""
        store = open_store(address)
        names = store.list()
        if not names:
            folder, _, name = address.rpartition("/")
            return cls(address, hashlib.sha256(open_store(folder).get(name)).hexdigest())
        whole = hashlib.sha256()
        for name in names:
            whole.update(f"{name}\0{hashlib.sha256(store.get(name)).hexdigest()}\n".encode())
        return cls(address, whole.hexdigest())


@dataclass(frozen=True)
class Champion:
    """Who reigns in a registry; `model` is None where nobody does."""

    name: str
    model: str | None

    @classmethod
    def read(cls, workspace: str, name: str) -> Champion:
        """From `champion.json`."""
        champion = Registry(workspace, name).champion()
        return cls(name, str(champion["model"]) if champion else None)


@dataclass(frozen=True)
class Decision:
    """What was decided on a run.

    Attributes:
        name: the registry's.
        run: the run's id.
        action: as the log has it.
        promoted: whether the action made the model champion.
        champion: who reigns now.
        model: key of the model that was decided on.
        facts: cohort, data, class of the model and the like, as text.
        metrics: values of gates and scores.
        places: `model`, `verdict` and `report`, as far as they are there.
    """

    name: str
    run: str
    action: str
    promoted: bool
    champion: Champion
    model: str
    facts: dict[str, str]
    metrics: dict[str, float]
    places: dict[str, Pointer]

    @classmethod
    def read(cls, workspace: str, name: str, run: str) -> Decision:
        """From the log, the run's verdict and the model's manifest."""
        entry = Registry(workspace, name).find(run)
        assert entry is not None, "a decision is told when it is in the log"
        folder = run_folder(workspace, run)
        verdict, key = read_json(join(folder, "verdict.json")), str(entry["model"])
        model = read_json(join(workspace, "models", key, "model.json"))
        facts = {
            "cohort": verdict["cohort"],
            "data": verdict["data"],
            "decision": verdict["model_decision"],
            "action": entry["action"],
            "log": entry["number"],
            "class": model["class"],
            "parent": model.get("parent"),
            "schema": model["schema"],
        }
        report = open_store(folder).exists("report.html")
        return cls(
            name=name,
            run=run,
            action=str(entry["action"]),
            promoted=entry["action"] in MOVES,
            champion=Champion.read(workspace, name),
            model=key,
            facts={fact: str(value) for fact, value in facts.items() if value is not None},
            metrics=_metrics(verdict),
            places={
                "model": Pointer.to(join(workspace, "models", key)),
                "verdict": Pointer.to(join(folder, "verdict.json")),
                **({"report": Pointer.to(join(folder, "report.html"))} if report else {}),
            },
        )


def _metrics(verdict: dict[str, Any]) -> dict[str, float]:
    values = {gate["name"]: gate["value"] for gate in verdict["gates"]} | verdict["scores"]
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
