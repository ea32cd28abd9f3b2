"""The decision log: numbered entries, each holding the digest of the one before.

An entry is {"schema", "number", "previous", "time", "action", "model", "run", "reasons",
"parent"}. Two equal histories have equal entries apart from `time`, and through it `previous`;
nothing else in an entry depends on the clock. An entry of a withdrawal has no model and no run when
it leaves no champion.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

from levelseq.cohort.keys import manifest_json
from levelseq.errors import BadInput, BadOption
from levelseq.store import Store, open_store
from levelseq.store.address import join

__all__ = ["ACTIONS", "MOVES", "DecisionLog", "registry_store"]

SCHEMA = "levelseq.log/1"
MOVES = ("promote", "recalibrate", "rollback", "withdraw")
ACTIONS = (*MOVES, "keep", "drop")

Entry = dict[str, Any]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FILE = re.compile(r"log/(\d{6,})\.json")


def registry_store(workspace: str, kind: str, name: str) -> Store:
    """The store of `registry/<name>` or `baselines/<name>`.

    Raises:
        BadOption: the name cannot be one folder.
    """
    if not _NAME.fullmatch(name):
        raise BadOption(
            f"{name!r} cannot name a registry",
            where="--name",
            do="use letters, digits, dot, dash and underscore",
        )
    return open_store(join(workspace, kind, name))


class DecisionLog:
    """The entries below one registry's `log/`: appended to, never changed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entries(self) -> list[Entry]:
        """All entries in order; the chain is not checked (see `verify`)."""
        return [json.loads(content) for content in self._contents()]

    def append(self, decide: Callable[[list[Entry]], Entry | int]) -> int:
        """Append what `decide` makes of the entries so far, and give its number.

        Another writer may be first: then `decide` is asked again, with that entry among the
        others. It may give a number instead, of an entry that already says the same.
        """
        while True:
            contents = self._contents()
            made = decide([json.loads(content) for content in contents])
            if isinstance(made, int):
                return made
            if made["action"] not in ACTIONS:
                raise BadOption(f"{made['action']!r} is not an action of the log", do=str(ACTIONS))
            number = len(contents) + 1
            entry = {
                "schema": SCHEMA,
                "number": number,
                "previous": _digest(contents[-1]) if contents else None,
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **made,
            }
            content = manifest_json(entry)
            # A put whose answer was lost is tried again by the store, and then finds itself.
            if (
                self._store.put_if_absent(_path(number), content)
                or self._store.get(_path(number)) == content
            ):
                return number

    def verify(self) -> int:
        """Walk the chain and give the number of entries.

        The last entry's digest is held by nobody until the next is written.

        Raises:
            BadInput: an entry is missing, renumbered or changed; it is named.
        """
        previous: str | None = None
        contents = self._contents()
        for number, content in enumerate(contents, start=1):
            where = join(self._store.address, _path(number))
            try:
                entry = json.loads(content)
            except ValueError as error:
                raise _broken("is not JSON", where) from error
            if entry.get("number") != number or entry.get("schema") != SCHEMA:
                raise _broken(f"is entry {entry.get('number')} of {entry.get('schema')}", where)
            if entry.get("previous") != previous:
                raise _broken(f"does not continue entry {number - 1}", where)
            previous = _digest(content)
        return len(contents)

    def _contents(self) -> list[bytes]:
        paths = [path for path in self._store.list("log") if _FILE.fullmatch(path)]
        numbers = sorted(int(path[len("log/") : -len(".json")]) for path in paths)
        for expected, number in enumerate(numbers, start=1):
            if number != expected:
                raise _broken("is missing", join(self._store.address, _path(expected)))
        return [self._store.get(_path(number)) for number in numbers]


def _path(number: int) -> str:
    return f"log/{number:06d}.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _broken(what: str, where: str) -> BadInput:
    return BadInput(
        f"the decision log is broken: this entry {what}",
        where=where,
        do="put the registry's folder back from a copy",
    )
