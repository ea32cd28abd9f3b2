"""The few verbs that levelseq needs of an object store, over obstore."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import obstore
import obstore.exceptions as failures
import obstore.store
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore, ObjectStore

from levelseq.errors import BadAddress, Conflict, StoreUnavailable

__all__ = ["Store", "Versioned"]

Backend = obstore.store.LocalStore | obstore.store.S3Store | obstore.store.MemoryStore


class Versioned(NamedTuple):
    """An object's bytes and the version that a conditional put must name."""

    content: bytes
    version: str


class Store:
    """Objects below one address; every path is relative to it.

    Objects under their final names are immutable, apart from those written with
    `put_if_version`. A local store has the same verbs: its conditional put holds a lock on the
    folder, since a file system has no compare-and-swap.
    """

    def __init__(
        self,
        address: str,
        backend: Callable[[str], Backend],
        folder: Path | None = None,
        prefix: str = "",
    ) -> None:
        self.address = address.rstrip("/") or "/"
        self._rooted_at = backend
        self._folder = folder
        # Memory stores cannot be rooted below their top, so their paths carry the rest.
        self._prefix = f"{prefix}/" if prefix else ""

    def get(self, path: str) -> bytes:
        """The bytes of one object; BadAddress if there is none."""
        with self._failing(path):
            return bytes(obstore.get(self._backend, self._key(path)).bytes())

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes of one object from `start`."""
        with self._failing(path):
            return bytes(
                obstore.get_range(self._backend, self._key(path), start=start, length=length)
            )

    def get_versioned(self, path: str) -> Versioned | None:
        """The bytes and version of a mutable object, or None if there is none."""
        try:
            with self._failing(path):
                if self._folder:
                    content = (self._folder / path).read_bytes()
                    return Versioned(content, hashlib.sha256(content).hexdigest())
                answer = obstore.get(self._backend, self._key(path))
                return Versioned(bytes(answer.bytes()), str(answer.meta["e_tag"]))
        except BadAddress:
            return None

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        try:
            with self._failing(path):
                obstore.head(self._backend, self._key(path))
        except BadAddress:
            return False
        return True

    def size(self, path: str) -> int:
        """Bytes of one object; BadAddress if there is none."""
        with self._failing(path):
            return int(obstore.head(self._backend, self._key(path))["size"])

    def put(self, path: str, content: bytes) -> None:
        """Write an object, whole or not at all."""
        with self._failing(path):
            obstore.put(self._writable(), self._key(path), content)

    def put_if_absent(self, path: str, content: bytes) -> bool:
        """Write an object unless there is one; whether it was written."""
        try:
            with self._failing(path):
                obstore.put(self._writable(), self._key(path), content, mode="create")
        except Conflict:
            return False
        return True

    def put_if_version(self, path: str, content: bytes, version: str | None) -> None:
        """Replace a mutable object that still has `version` (None: that must not exist yet).

        Raises:
            Conflict: somebody else changed it first.
        """
        if version is None:
            if not self.put_if_absent(path, content):
                raise Conflict("was written by somebody else first", where=self._name(path))
            return
        with self._failing(path):
            if self._folder:
                self._replace_locked(path, content, version)
            else:
                obstore.put(self._backend, self._key(path), content, mode={"e_tag": version})

    def list(self, prefix: str = "") -> list[str]:
        """Paths of all objects below a folder, sorted."""
        with self._failing(prefix):
            if self._folder and not (self._folder / prefix).is_dir():
                return []
            rows = obstore.list(self._backend, self._key(prefix).rstrip("/") or None).collect()
        return sorted(str(row["path"]).removeprefix(self._prefix) for row in rows)

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens if there is none."""
        with contextlib.suppress(BadAddress), self._failing(path):
            obstore.delete(self._backend, self._key(path))

    def delete_folder(self, prefix: str) -> None:
        """Remove every object below a folder."""
        for path in self.list(prefix):
            self.delete(path)
        if self._folder and prefix:
            shutil.rmtree(self._folder / prefix, ignore_errors=True)

    @contextlib.contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """A local file with the object's bytes, for libraries that need one (h5py).

        A local object is given itself; another is streamed to a temporary file.
        """
        if self._folder:
            target = self._folder / path
            if not target.is_file():
                raise BadAddress("no such file", where=self._name(path))
            yield target
            return
        with tempfile.TemporaryDirectory(prefix="levelseq-") as scratch:
            target = Path(scratch) / Path(path).name
            with self._failing(path), target.open("wb") as out:
                for chunk in obstore.get(self._backend, self._key(path)).stream(16 << 20):
                    out.write(bytes(chunk))
            yield target

    def zarr(self, path: str) -> ZarrStore:
        """A read-only Zarr store at a path."""
        if self._folder and not (self._folder / path).is_dir():
            raise BadAddress("no such Zarr store", where=self._name(path))
        backend = self._rooted_at(path)
        if isinstance(backend, obstore.store.MemoryStore):
            return self._zarr_in_memory(path)
        return ObjectStore(backend, read_only=True)

    def _zarr_in_memory(self, path: str) -> MemoryStore:
        prototype = default_buffer_prototype()
        return MemoryStore(
            {
                name[len(path) + 1 :]: prototype.buffer.from_bytes(self.get(name))
                for name in self.list(path)
            },
            read_only=True,
        )

    @property
    def _backend(self) -> Backend:
        if self._folder and not self._folder.is_dir():
            raise FileNotFoundError(self._folder)
        return self._rooted_at("")

    def _writable(self) -> Backend:
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)
        return self._backend

    def _key(self, path: str) -> str:
        return f"{self._prefix}{path}"

    def _name(self, path: str) -> str:
        return f"{self.address}/{path}"

    def _replace_locked(self, path: str, content: bytes, version: str) -> None:
        assert self._folder is not None
        target = self._folder / path
        lock = os.open(target.parent, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if hashlib.sha256(target.read_bytes()).hexdigest() != version:
                raise Conflict("was changed by somebody else first", where=self._name(path))
            obstore.put(self._backend, path, content)
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _failing(self, path: str) -> Iterator[None]:
        """Turn the backend's failures into levelseq's."""
        try:
            yield
        except (failures.NotFoundError, FileNotFoundError, NotADirectoryError) as error:
            raise BadAddress("there is nothing at this address", where=self._name(path)) from error
        except FileExistsError as error:
            raise BadAddress(
                "goes through a file where a folder should be",
                where=self._name(path),
                do="choose another address",
            ) from error
        except (failures.AlreadyExistsError, failures.PreconditionError) as error:
            raise Conflict("was changed by somebody else first", where=self._name(path)) from error
        except (
            failures.PermissionDeniedError,
            failures.UnauthenticatedError,
            PermissionError,
        ) as error:
            raise BadAddress(
                "access is denied",
                where=self._name(path),
                do="check the credentials and the policy",
            ) from error
        except (failures.BaseError, OSError) as error:
            raise StoreUnavailable(
                f"the object store failed: {_first_line(error)}",
                where=self._name(path),
                do="try again",
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
