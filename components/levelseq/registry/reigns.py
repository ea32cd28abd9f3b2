"""Who reigned, and what a withdrawal has ended: read from the entries of a decision log."""

from __future__ import annotations

from levelseq.errors import BadInput
from levelseq.registry.log import MOVES, Entry
from levelseq.store import join

__all__ = ["entry_of", "refuse_withdrawn", "reigns"]


def reigns(entries: list[Entry]) -> list[Entry]:
    """The champions from the first to the present one.

    A rollback ends the last reign, a withdrawal those of all models that were made from it.
    """
    found: list[Entry] = []
    for entry in entries:
        if entry["action"] == "rollback":
            found.pop()
        elif entry["action"] == "withdraw":
            gone = set(entry["withdrawn"]["models"])
            found = [reign for reign in found if reign["model"] not in gone]
        elif entry["action"] in MOVES:
            found.append(entry)
    return found


def entry_of(entries: list[Entry], run: str) -> Entry | None:
    """The entry of a run's own decision, if there is one."""
    own = (e for e in entries if e["run"] == run and e["action"] not in ("rollback", "withdraw"))
    return next(own, None)


def refuse_withdrawn(entries: list[Entry], what: str, key: str) -> None:
    """Raise BadInput for one of the `models` or `cohorts` that a withdrawal has ended."""
    for entry in entries:
        if key in entry.get("withdrawn", {}).get(what, ()):
            raise BadInput(
                f"was made from a donor who has withdrawn (log entry {entry['number']})",
                where=join(what, key),
                do="run normalize_cohort again: the plan leaves the donor out",
            )
