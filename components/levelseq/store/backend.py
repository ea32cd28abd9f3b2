"""What a store's library must be able to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from zarr.abc.store import Store as ZarrStore

__all__ = ["Backend", "Failures", "Stamp", "Versioned"]


class Versioned(NamedTuple):
    """An object's bytes and the version that a conditional put must name."""

    content: bytes
    version: str


class Stamp(NamedTuple):
    """What a store says of an object's content without giving it.

    Attributes:
        version: another one whenever the object has been written anew.
        settled: whether the next write is sure to be told apart from the last one.
    """

    version: str
    settled: bool = True


@dataclass(frozen=True)
class Failures:
    """A library's exceptions by what they mean; `failed` is all that a retry may mend."""

    missing: tuple[type[Exception], ...]
    taken: tuple[type[Exception], ...]
    denied: tuple[type[Exception], ...]
    failed: tuple[type[Exception], ...]


class Backend(Protocol):
    """The verbs over one library, with paths relative to one address."""

    failures: Failures

    def get(self, path: str) -> bytes:
        """The bytes of one object."""

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes of one object from `start`."""

    def get_versioned(self, path: str) -> Versioned:
        """The bytes of one object and their version."""

    def size(self, path: str) -> int:
        """Bytes of one object."""

    def put(self, path: str, content: bytes) -> None:
        """Write an object."""

    def create(self, path: str, content: bytes) -> None:
        """Write an object that must not be there."""

    def replace(self, path: str, content: bytes, version: str) -> None:
        """Write an object that must still have a version."""

    def list(self, prefix: str) -> list[str]:
        """Paths of all objects below a folder, in any order."""

    def stamp(self, path: str) -> Stamp:
        """The stamp of one object."""

    def stamps(self, prefix: str) -> dict[str, Stamp]:
        """Path -> stamp of all objects below a folder, by listing it."""

    def delete(self, path: str) -> None:
        """Remove one object."""

    def delete_rest(self, prefix: str) -> None:
        """Remove what is left of a folder without objects."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one object, part by part."""

    def local_file(self, path: str) -> Path | None:
        """The object as a file of this machine, if it is one."""

    def zarr(self, path: str) -> ZarrStore:
        """A read-only Zarr store at a path."""
