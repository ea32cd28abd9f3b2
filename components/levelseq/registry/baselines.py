"""Baselines: what earlier cohorts measured, one object a cohort, never changed."""

from __future__ import annotations

import json
from typing import Any

from levelseq.cohort.keys import manifest_json
from levelseq.registry.log import DecisionLog, registry_store

__all__ = ["Baselines"]

SCHEMA = "levelseq.baseline/1"


class Baselines:
    """`baselines/<name>`: gate values and scores by cohort fingerprint; no observations."""

    def __init__(self, workspace: str, name: str) -> None:
        self._store = registry_store(workspace, "baselines", name)
        self._log = DecisionLog(registry_store(workspace, "registry", name))

    def all(self) -> list[dict[str, Any]]:
        """Every baseline, in the order in which the log decided on their runs."""
        paths = [path for path in self._store.list() if path.endswith(".json")]
        order = {entry["run"]: entry["number"] for entry in reversed(self._log.entries())}
        found = [json.loads(self._store.get(path)) for path in paths]
        return sorted(found, key=lambda b: (order.get(b.get("run"), 1 << 60), b["cohort"]))

    def add(self, fingerprint: str, content: dict[str, Any]) -> bool:
        """Keep a cohort's values unless it has some already; whether they were kept."""
        whole = {"schema": SCHEMA, **content, "cohort": fingerprint}
        return self._store.put_if_absent(f"{fingerprint}.json", manifest_json(whole))
