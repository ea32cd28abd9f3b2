"""The few verbs that levelseq needs of an object store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from zarr.abc.store import Store as ZarrStore

from levelseq.errors import BadAddress, Conflict, StoreUnavailable
from levelseq.store.backend import Backend, Stamp, Versioned

__all__ = ["Store"]


class Store:
    """Objects below one address; every path is relative to it.

    Objects under their final names are immutable, apart from those written with
    `put_if_version`. Each verb raises levelseq's errors, whatever library is below:
    BadAddress (nothing there, access denied), Conflict, StoreUnavailable.
    """

    def __init__(self, address: str, backend: Backend) -> None:
        self.address = address.rstrip("/") or "/"
        self._backend = backend

    def get(self, path: str) -> bytes:
        """The bytes of one object; BadAddress if there is none."""
        with self._failing(path):
            return self._backend.get(path)

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes of one object from `start`."""
        with self._failing(path):
            return self._backend.get_range(path, start, length)

    def get_versioned(self, path: str) -> Versioned | None:
        """The bytes and version of a mutable object, or None if there is none."""
        with self._failing(path):
            try:
                return self._backend.get_versioned(path)
            except self._backend.failures.missing:
                return None

    def exists(self, path: str) -> bool:
        """Whether there is an object at the path."""
        with self._failing(path):
            try:
                self._backend.size(path)
            except self._backend.failures.missing:
                return False
        return True

    def size(self, path: str) -> int:
        """Bytes of one object; BadAddress if there is none."""
        with self._failing(path):
            return self._backend.size(path)

    def put(self, path: str, content: bytes) -> None:
        """Write an object, whole or not at all."""
        with self._failing(path):
            self._backend.put(path, content)

    def put_if_absent(self, path: str, content: bytes) -> bool:
        """Write an object unless there is one; whether it was written."""
        try:
            with self._failing(path):
                self._backend.create(path, content)
        except Conflict:
            return False
        return True

    def put_if_version(self, path: str, content: bytes, version: str | None) -> None:
        """Replace a mutable object that still has `version` (None: that must not exist yet).

        Raises:
            Conflict: somebody else changed it first.
        """
        with self._failing(path):
            if version is None:
                self._backend.create(path, content)
            else:
                self._backend.replace(path, content, version)

    def list(self, prefix: str = "") -> list[str]:
        """Paths of all objects below a folder, sorted."""
        with self._failing(prefix):
            return sorted(self._backend.list(prefix))

    def stamp(self, path: str) -> Stamp | None:
        """What tells an object's content from that of other writes, or None if there is none."""
        with self._failing(path):
            try:
                return self._backend.stamp(path)
            except self._backend.failures.missing:
                return None

    def stamps(self, prefix: str = "") -> dict[str, Stamp]:
        """Path -> stamp of all objects below a folder, sorted; as many requests as `list` makes."""
        with self._failing(prefix):
            return dict(sorted(self._backend.stamps(prefix).items()))

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens if there is none."""
        with self._failing(path), contextlib.suppress(*self._backend.failures.missing):
            self._backend.delete(path)

    def delete_folder(self, prefix: str) -> None:
        """Remove every object below a folder."""
        for path in self.list(prefix):
            self.delete(path)
        self._backend.delete_rest(prefix)

    @contextlib.contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """A local file with the object's bytes, for libraries that need one (h5py).

        A local object is given itself; another is streamed to a temporary file.
        """
        with self._failing(path, "no such file"):
            here = self._backend.local_file(path)
        if here:
            yield here
            return
        with tempfile.TemporaryDirectory(prefix="levelseq-") as scratch:
            target = Path(scratch) / Path(path).name
            with self._failing(path), target.open("wb") as out:
                for chunk in self._backend.chunks(path):
                    out.write(chunk)
            yield target

    def zarr(self, path: str) -> ZarrStore:
        """A read-only Zarr store at a path."""
        with self._failing(path, "no such Zarr store"):
            return self._backend.zarr(path)

    def _name(self, path: str) -> str:
        return f"{self.address.rstrip('/')}/{path}"

    @contextlib.contextmanager
    def _failing(
        self, path: str, missing: str = "there is nothing at this address"
    ) -> Iterator[None]:
        """Turn the library's failures into levelseq's."""
        meaning = self._backend.failures
        try:
            yield
        except (FileExistsError, NotADirectoryError) as error:
            raise BadAddress(
                "goes through a file where a folder should be",
                where=self._name(path),
                do="choose another address",
            ) from error
        except meaning.missing as error:
            raise BadAddress(missing, where=self._name(path)) from error
        except meaning.taken as error:
            raise Conflict("was changed by somebody else first", where=self._name(path)) from error
        except meaning.denied as error:
            raise BadAddress(
                "access is denied",
                where=self._name(path),
                do="check the credentials and the policy",
            ) from error
        except meaning.failed as error:
            raise StoreUnavailable(
                f"the object store failed: {_first_line(error)}",
                where=self._name(path),
                do="try again",
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
