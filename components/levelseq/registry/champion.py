"""The champion of a registry: promoted, rolled back, and found in `champion.json`."""

from __future__ import annotations

import json
from typing import Any

from levelseq.cohort.keys import manifest_json
from levelseq.errors import BadAddress, BadInput, BadOption, Conflict
from levelseq.registry.log import MOVES, DecisionLog, Entry, registry_store
from levelseq.registry.reigns import entry_of, refuse_withdrawn, reigns
from levelseq.store import join, open_store

__all__ = ["Registry", "describe"]

CHAMPION = "champion.json"
ANY = "any"


class Registry:
    """`registry/<name>`: the log is the truth, `champion.json` the place where it is looked up.

    The log entry is written first. A writer killed between the two leaves a champion that lags
    behind the log; the same run, started again, brings it forward, and it never moves back.
    """

    def __init__(self, workspace: str, name: str) -> None:
        self._store = registry_store(workspace, "registry", name)
        self._log = DecisionLog(self._store)

    @property
    def address(self) -> str:
        """The registry's folder."""
        return self._store.address

    def champion(self) -> dict[str, Any] | None:
        """{"model", "run", "log"}, or None where nobody reigns: at first, or after a withdrawal."""
        found = self._store.get_versioned(CHAMPION)
        content: dict[str, Any] = json.loads(found.content) if found else {}
        return content if content.get("model") else None

    def log(self) -> list[Entry]:
        """All entries, oldest first."""
        return self._log.entries()

    def reigning(self) -> str | None:
        """The champion's model by the log, once `champion.json` has been brought up to it."""
        moves = [entry["number"] for entry in self.log() if entry["action"] in MOVES]
        if moves:
            self.follow(moves[-1])
        champion = self.champion()
        return str(champion["model"]) if champion else None

    def find(self, run: str) -> Entry | None:
        """The entry that a run's decision has left, if any; a rollback is no run's decision."""
        return entry_of(self.log(), run)

    def append(self, entry: Entry, *, over: str | None = ANY) -> int:
        """Enter a run's decision, once: its second call finds the first one's entry.

        Args:
            entry: {"action", "model", "run", "reasons"}; `parent`, the champion at that moment,
                is added.
            over: the champion that the model was judged against (None: there was none), or `any`.

        Raises:
            Conflict: the champion is no longer `over`.
            BadInput: the model would be champion, and was made from a donor who has withdrawn.
        """

        def decide(entries: list[Entry]) -> Entry | int:
            if found := entry_of(entries, entry["run"]):
                return int(found["number"])
            if entry["action"] in MOVES:
                refuse_withdrawn(entries, "models", entry["model"])
            past = reigns(entries)
            parent = past[-1]["model"] if past else None
            if over not in (ANY, parent):
                raise Conflict(f"the champion is now {parent}, not {over}", where=self.address)
            return {**entry, "parent": parent}

        return self._log.append(decide)

    def promote(self, model: str, run: str, reasons: list[str]) -> int:
        """Make a model the champion: its log entry, then `champion.json`; the entry's number."""
        entry = {"action": "promote", "model": model, "run": run, "reasons": reasons}
        number = self.append(entry)
        self.follow(number)
        return number

    def rollback(self, reason: str) -> dict[str, Any]:
        """Bring the champion before this one back, and give the new `champion.json`.

        Raises:
            BadOption: there is no earlier champion.
        """

        def decide(entries: list[Entry]) -> Entry:
            past = reigns(entries)
            if len(past) < 2:
                raise BadOption("has no earlier champion to go back to", where=self.address)
            back = past[-2]
            return {
                "action": "rollback",
                "model": back["model"],
                "run": back["run"],
                "reasons": [reason],
                "parent": past[-1]["model"],
            }

        self.follow(self._log.append(decide))
        champion = self.champion()
        assert champion is not None
        return champion

    def withdraw(
        self, withdrawal: str, cohorts: dict[str, str | None], models: list[str], reasons: list[str]
    ) -> int:
        """Enter, once, that cohorts were replaced; champions made from them reign no more.

        The last champion made without them comes back; where there is none, nobody reigns.

        Args:
            withdrawal: the id under which its list is in `runs/`.
            cohorts: fingerprint -> that of the cohort in its place, or None.
            models: keys of all models made from those cohorts.
            reasons: for the log; they name no donor.

        Returns:
            The entry's number.
        """

        def decide(entries: list[Entry]) -> Entry | int:
            for entry in entries:
                if entry.get("withdrawal") == withdrawal:
                    return int(entry["number"])
            past = reigns(entries)
            left = [reign for reign in past if reign["model"] not in models]
            now: Entry = left[-1] if left else {}
            return {
                "action": "withdraw",
                "model": now.get("model"),
                "run": now.get("run"),
                "reasons": reasons,
                "parent": past[-1]["model"] if past else None,
                "withdrawal": withdrawal,
                "withdrawn": {"cohorts": cohorts, "models": sorted(models)},
            }

        number = self._log.append(decide)
        self.follow(number)
        return number

    def refuse_withdrawn(self, cohort: str) -> None:
        """Raise BadInput for a cohort that was replaced since a donor of it has withdrawn."""
        refuse_withdrawn(self.log(), "cohorts", cohort)

    def follow(self, number: int) -> None:
        """Bring `champion.json` forward to a log entry that moves it; never back."""
        entry = self.log()[number - 1]
        if entry["action"] not in MOVES:
            return
        content = {"model": entry["model"], "run": entry["run"], "log": number}
        while True:
            found = self._store.get_versioned(CHAMPION)
            if found and json.loads(found.content)["log"] >= number:
                return
            try:
                version = found.version if found else None
                return self._store.put_if_version(CHAMPION, manifest_json(content), version)
            except Conflict:
                continue

    def verify(self) -> int:
        """Walk the log's chain, hold the champion against it, and give the number of entries.

        Raises:
            BadInput: the chain is broken at a named entry, or the champion is not in it.
        """
        count = self._log.verify()
        champion = self.champion()
        if champion is not None:
            named = next((e for e in self.log() if e["number"] == champion["log"]), {})
            if (named.get("model"), named.get("run")) != (champion["model"], champion["run"]):
                raise BadInput(
                    f"names log entry {champion['log']}, which is not there or says otherwise",
                    where=join(self.address, CHAMPION),
                    do="put the registry's folder back from a copy",
                )
        return count


def describe(workspace: str, name: str) -> list[dict[str, Any]]:
    """One row a model that a registry has decided on, in the order in which they came.

    Rows are {"model", "class", "parent", "run", "action", "log", "time", "champion"}: the last
    entry that names the model, and whether it is the champion now.
    """
    registry = Registry(workspace, name)
    champion = registry.champion() or {}
    rows: dict[str, dict[str, Any]] = {}
    for entry in registry.log():
        if not entry["model"]:
            continue
        manifest = _model_manifest(workspace, entry["model"])
        rows[entry["model"]] = {
            "model": entry["model"],
            "class": manifest.get("class", ""),
            "parent": manifest.get("parent") or "",
            "run": entry["run"],
            "action": entry["action"],
            "log": entry["number"],
            "time": entry["time"],
            "champion": entry["model"] == champion.get("model"),
        }
    return list(rows.values())


def _model_manifest(workspace: str, key: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(
            open_store(join(workspace, "models", key)).get("model.json")
        )
    except BadAddress:
        return {}
    return content
