"""What the looks of a recurring run remember, so that none reads or tells a thing twice."""

from __future__ import annotations

import json
from typing import Any

from levelseq.cohort import manifest_json
from levelseq.errors import BadInput, Conflict
from levelseq.store import join, open_store

__all__ = ["Looks"]

SCHEMA = "levelseq.looks/1"
_MEMORY = "digests.json"
_REFUSED = "refused"
_RACES = 5


class Looks:
    """`watch/<name>/` of a workspace, with what was known when it was opened.

    `digests.json` holds the digest of every object or 10x folder with the version that the store
    gave it then, and the keys of deposits that were checked and passed. `refused/<key>.json` is
    the error of one that was set aside. All are facts about bytes: those of two looks at a time
    are put together, and losing them costs reading again.

    Args:
        workspace: where the folder `watch` is.
        name: the study's name.
    """

    def __init__(self, workspace: str, name: str) -> None:
        self.folder = join(workspace, "watch", name)
        self._store = open_store(self.folder)
        self._objects, self._passed, _ = self._stored()
        self._refused = set(self._store.list(_REFUSED))
        self._is_news = False

    @property
    def refusals(self) -> str:
        """The address of the errors of those set aside."""
        return join(self.folder, _REFUSED)

    def digest(self, address: str, version: str) -> str | None:
        """The digest of what is at an address, if it was read in this version."""
        known, digest = self._objects.get(address, ("", ""))
        return digest if known == version else None

    def remember_digest(self, address: str, version: str, digest: str) -> None:
        """Keep a digest; `keep` writes it."""
        self._objects[address] = (version, digest)
        self._is_news = True

    def has_passed(self, key: str) -> bool:
        """Whether this deposit was checked to its end and is good."""
        return key in self._passed

    def remember_passed(self, key: str) -> None:
        """Keep that a deposit is good; `keep` writes it."""
        self._passed.add(key)
        self._is_news = True

    def is_refused(self, key: str) -> bool:
        """Whether this deposit was set aside before."""
        return _path(key) in self._refused

    def refuse(self, key: str, error: BadInput) -> None:
        """Set a deposit aside."""
        self._store.put_if_absent(_path(key), manifest_json(error.as_json()))
        self._refused.add(_path(key))

    def keep(self) -> None:
        """Write what is new, beside what another look has written in the meantime.

        Who loses every race drops its news: the next look reads those objects again.
        """
        for _ in range(_RACES if self._is_news else 0):
            objects, passed, version = self._stored()
            self._objects, self._passed = objects | self._objects, passed | self._passed
            content = {
                "schema": SCHEMA,
                "objects": self._objects,
                "passed": sorted(self._passed),
            }
            try:
                self._store.put_if_version(_MEMORY, manifest_json(content), version)
            except Conflict:
                continue
            self._is_news = False
            return

    def _stored(self) -> tuple[dict[str, tuple[str, str]], set[str], str | None]:
        """Digests by address, keys of those that passed, and the version of their object."""
        found = self._store.get_versioned(_MEMORY)
        if found is None:
            return {}, set(), None
        content: dict[str, Any] = json.loads(found.content)
        if content["schema"] != SCHEMA:
            return {}, set(), found.version
        objects = {str(address): (str(v), str(d)) for address, (v, d) in content["objects"].items()}
        return objects, set(content["passed"]), found.version


def _path(key: str) -> str:
    return f"{_REFUSED}/{key}.json"
