"""What the store says of deposits' objects without their being read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from levelseq.cohort import content_key
from levelseq.ingest.files import is_one_file
from levelseq.ingest.readers.tenx_mtx import PARTS
from levelseq.store import Stamp, join, open_store, parent

__all__ = ["PART_NAMES", "Stamps", "settled", "version_of"]

PART_NAMES = frozenset(name for names in PARTS.values() for name in names)


@dataclass(frozen=True)
class Stamps:
    """Stamps by address: those of one folder from its listing, all others asked for one by one.

    Attributes:
        folder: address of the folder that was listed; empty: none was.
        listed: path below the folder -> stamp.
    """

    folder: str = ""
    listed: Mapping[str, Stamp] = field(default_factory=dict)

    def of(self, address: str) -> dict[str, Stamp]:
        """Name -> stamp of an address's objects: one file, or the parts of a 10x folder."""
        folder, name = parent(address)
        if self.folder:
            names = [name] if is_one_file(address) else sorted(PART_NAMES)
            within = folder if is_one_file(address) else address
            found = {name: self.listed.get(self._path(within, name)) for name in names}
            return {name: stamp for name, stamp in found.items() if stamp}
        stamp = open_store(folder).stamp(name)
        if stamp or is_one_file(address):
            return {name: stamp} if stamp else {}
        below = open_store(address).stamps()
        return {name: stamp for name, stamp in below.items() if name in PART_NAMES}

    def _path(self, folder: str, name: str) -> str:
        return join(folder, name).removeprefix(join(self.folder, ""))


def version_of(stamps: Mapping[str, Stamp]) -> str:
    """One version for all objects of a deposit."""
    return content_key({name: stamp.version for name, stamp in stamps.items()})


def settled(stamps: Mapping[str, Stamp]) -> bool:
    """Whether the version is sure to change with the content."""
    return all(stamp.settled for stamp in stamps.values())
