"""Baselines: what earlier cohorts measured, one object a cohort, never changed.

A value is compared with values of the same metric in the same version, on cohorts of the same
kind: another tissue, another assay or another definition of the measure is another history.
"""

from __future__ import annotations

import json
from typing import Any

from levelseq.cohort.keys import manifest_json
from levelseq.registry.kind import Kind
from levelseq.registry.log import DecisionLog, registry_store

__all__ = ["Baseline", "Baselines", "alike", "series"]

SCHEMA = "levelseq.baseline/1"
_NO: dict[str, Any] = {"cohorts": ()}

Baseline = dict[str, Any]


class Baselines:
    """`baselines/<name>`: gate values and scores by cohort fingerprint; no observations."""

    def __init__(self, workspace: str, name: str) -> None:
        self._store = registry_store(workspace, "baselines", name)
        self._log = DecisionLog(registry_store(workspace, "registry", name))

    def all(self) -> list[Baseline]:
        """Every baseline, in the order in which the log decided on their runs.

        Those of cohorts that were replaced since a donor has withdrawn are left out.
        """
        entries = self._log.entries()
        gone = {f"{cohort}.json" for e in entries for cohort in e.get("withdrawn", _NO)["cohorts"]}
        paths = [p for p in self._store.list() if p.endswith(".json") and p not in gone]
        order = {entry["run"]: entry["number"] for entry in reversed(entries)}
        found = [json.loads(self._store.get(path)) for path in paths]
        return sorted(found, key=lambda b: (order.get(b.get("run"), 1 << 60), b["cohort"]))

    def add(self, fingerprint: str, content: dict[str, Any]) -> bool:
        """Keep a cohort's values unless it has some already; whether they were kept.

        Of many writers of one cohort the first is kept whole: the put is conditional.
        """
        whole = {"schema": SCHEMA, **content, "cohort": fingerprint}
        return self._store.put_if_absent(f"{fingerprint}.json", manifest_json(whole))


def alike(baselines: list[Baseline], kind: Kind, cohort: str) -> list[Baseline]:
    """The baselines of other cohorts of a kind, in the order given: a cohort's own past."""
    return [b for b in baselines if b["cohort"] != cohort and Kind.read(b) == kind]


def series(baselines: list[Baseline], gate: str, metric: str) -> list[float]:
    """A gate's values on baselines, those measured by this version of its metric.

    Args:
        baselines: of one kind, oldest first.
        gate: `family.measure`.
        metric: the version that the value to compare was measured by. Baselines that name none
            are older than versions: they are left out.
    """
    values = (
        b.get("gates", {}).get(gate) for b in baselines if b.get("metrics", {}).get(gate) == metric
    )
    return [float(value) for value in values if value is not None]
