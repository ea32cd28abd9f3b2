"""Memory, local files, S3 and Azure through obstore."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import obstore.exceptions as raised
import obstore.store
from zarr.abc.store import Store as ZarrStore
from zarr.storage import ObjectStore

from levelseq.store.backend import Failures, Stamp, Versioned
from levelseq.store.zarr_view import ZarrView

__all__ = ["Folder", "Memory", "Remote"]

Library = (
    obstore.store.AzureStore
    | obstore.store.LocalStore
    | obstore.store.MemoryStore
    | obstore.store.S3Store
)
_CHUNK = 16 << 20
# The coarsest clock of a file system (FAT) ticks every two seconds.
_TICK = dt.timedelta(seconds=2)


class Remote:
    """A bucket or container below a prefix.

    Args:
        rooted_at: gives the library's store below a path of it; it must be cheap to ask twice.
        writes_to: the same for writing, where writes are told more than reads.
    """

    failures = Failures(
        missing=(raised.NotFoundError, FileNotFoundError, NotADirectoryError),
        taken=(raised.AlreadyExistsError, raised.PreconditionError),
        denied=(raised.PermissionDeniedError, raised.UnauthenticatedError, PermissionError),
        failed=(raised.BaseError, OSError),
    )
    _prefix = ""

    def __init__(
        self,
        rooted_at: Callable[[str], Library],
        writes_to: Callable[[str], Library] | None = None,
    ) -> None:
        self._rooted_at = rooted_at
        self._writes_to = writes_to or rooted_at

    def get(self, path: str) -> bytes:
        """The bytes of one object."""
        return bytes(obstore.get(self._reads(), self._key(path)).bytes())

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes of one object from `start`."""
        return bytes(obstore.get_range(self._reads(), self._key(path), start=start, length=length))

    def get_versioned(self, path: str) -> Versioned:
        """The bytes of one object and its entity tag."""
        answer = obstore.get(self._reads(), self._key(path))
        return Versioned(bytes(answer.bytes()), str(answer.meta["e_tag"]))

    def size(self, path: str) -> int:
        """Bytes of one object."""
        return int(obstore.head(self._reads(), self._key(path))["size"])

    def put(self, path: str, content: bytes) -> None:
        """Write an object."""
        obstore.put(self._writes(), self._key(path), content)

    def create(self, path: str, content: bytes) -> None:
        """Write an object that must not be there."""
        obstore.put(self._writes(), self._key(path), content, mode="create")

    def replace(self, path: str, content: bytes, version: str) -> None:
        """Write an object that must still have a version."""
        obstore.put(self._writes(), self._key(path), content, mode={"e_tag": version})

    def list(self, prefix: str) -> list[str]:
        """Paths of all objects below a folder."""
        return list(self.stamps(prefix))

    def stamp(self, path: str) -> Stamp:
        """The entity tag and size of one object."""
        return self._stamp(obstore.head(self._reads(), self._key(path)))

    def stamps(self, prefix: str) -> dict[str, Stamp]:
        """Entity tags and sizes of all objects below a folder."""
        rows = obstore.list(self._reads(), self._key(prefix).rstrip("/") or None).collect()
        return {str(row["path"]).removeprefix(self._prefix): self._stamp(row) for row in rows}

    def _stamp(self, row: obstore.ObjectMeta) -> Stamp:
        # Azure quotes an entity tag in the answer to a head, not in a list.
        tag = str(row["e_tag"]).strip('"')
        return Stamp(f"{tag} {row['size']}")

    def delete(self, path: str) -> None:
        """Remove one object."""
        obstore.delete(self._reads(), self._key(path))

    def delete_rest(self, prefix: str) -> None:
        """Nothing: a bucket has no folders."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one object, part by part."""
        for chunk in obstore.get(self._reads(), self._key(path)).stream(_CHUNK):
            yield bytes(chunk)

    def local_file(self, path: str) -> Path | None:
        """None: it is elsewhere."""
        return None

    def zarr(self, path: str) -> ZarrStore:
        """A read-only Zarr store at a path."""
        return ObjectStore(self._rooted_at(path), read_only=True)

    def _reads(self) -> Library:
        return self._rooted_at("")

    def _writes(self) -> Library:
        return self._writes_to("")

    def _key(self, path: str) -> str:
        return f"{self._prefix}{path}"


class Memory(Remote):
    """A store of this process: it cannot be rooted below its top, so its keys carry the prefix."""

    def __init__(self, store: obstore.store.MemoryStore, prefix: str) -> None:
        super().__init__(lambda sub: store)
        self._prefix = f"{prefix}/" if prefix else ""

    def zarr(self, path: str) -> ZarrStore:
        """A read-only Zarr store at a path."""
        return ZarrView(self, path)


class Folder(Remote):
    """A folder of this machine; it is made by the first write.

    Its conditional put holds a lock on the folder, since a file system has no compare-and-swap.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(lambda sub: obstore.store.LocalStore(folder / sub))
        self._folder = folder

    def get_versioned(self, path: str) -> Versioned:
        """The bytes of one file and their digest."""
        content = (self._folder / path).read_bytes()
        return Versioned(content, hashlib.sha256(content).hexdigest())

    def replace(self, path: str, content: bytes, version: str) -> None:
        """Write a file whose digest must still be `version`."""
        target = self._folder / path
        lock = os.open(target.parent, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if hashlib.sha256(target.read_bytes()).hexdigest() != version:
                raise raised.PreconditionError(f"{target} has another digest")
            self.put(path, content)
        finally:
            os.close(lock)

    def stamps(self, prefix: str) -> dict[str, Stamp]:
        """Inodes, times and sizes of all files below a folder."""
        return super().stamps(prefix) if (self._folder / prefix).is_dir() else {}

    def _stamp(self, row: obstore.ObjectMeta) -> Stamp:
        """Within one tick of the clock a second write of as many bytes leaves the tag as it is."""
        age = dt.datetime.now(dt.UTC) - row["last_modified"]
        return super()._stamp(row)._replace(settled=age > _TICK)

    def delete_rest(self, prefix: str) -> None:
        """Remove a folder that is empty of objects."""
        if prefix:
            shutil.rmtree(self._folder / prefix, ignore_errors=True)

    def local_file(self, path: str) -> Path | None:
        """The file itself."""
        target = self._folder / path
        if not target.is_file():
            raise FileNotFoundError(target)
        return target

    def zarr(self, path: str) -> ZarrStore:
        """A read-only Zarr store at a path."""
        if not (self._folder / path).is_dir():
            raise FileNotFoundError(self._folder / path)
        return super().zarr(path)

    def _reads(self) -> Library:
        if not self._folder.is_dir():
            raise FileNotFoundError(self._folder)
        return super()._reads()

    def _writes(self) -> Library:
        self._folder.mkdir(parents=True, exist_ok=True)
        return super()._writes()
