"""A Zarr store over a backend's own verbs, for libraries that Zarr does not know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from levelseq.store.backend import Backend

__all__ = ["ZarrView"]


class ZarrView(Store):
    """The objects below one path of a backend, read-only; reads run in threads."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, backend: Backend, path: str) -> None:
        super().__init__(read_only=True)
        self._backend = backend
        self._path = path.rstrip("/")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ZarrView)
            and self._backend is other._backend
            and self._path == other._path
        )

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """The bytes at a key or a range of them, or None if there is nothing."""
        try:
            content = await asyncio.to_thread(self._read, f"{self._path}/{key}", byte_range)
        except self._backend.failures.missing:
            return None
        return prototype.buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several ranges at once."""
        return await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))

    async def exists(self, key: str) -> bool:
        """Whether there is an object at a key."""
        try:
            await asyncio.to_thread(self._backend.size, f"{self._path}/{key}")
        except self._backend.failures.missing:
            return False
        return True

    async def list(self) -> AsyncIterator[str]:
        """Every key."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Every key that starts with a prefix."""
        below = self._path if not prefix else f"{self._path}/{prefix.rpartition('/')[0]}"
        for path in await asyncio.to_thread(self._backend.list, below.rstrip("/")):
            key = path[len(self._path) + 1 :]
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The names directly below a folder."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        names = {key[len(folder) :].split("/")[0] async for key in self.list_prefix(folder)}
        for name in sorted(names):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refused: levelseq writes whole objects by its own verbs."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refused, as `set`."""
        self._check_writable()

    def _read(self, path: str, part: ByteRequest | None) -> bytes:
        if part is None:
            return self._backend.get(path)
        if isinstance(part, RangeByteRequest):
            return self._backend.get_range(path, part.start, part.end - part.start)
        size = self._backend.size(path)
        if isinstance(part, OffsetByteRequest):
            return self._backend.get_range(path, part.offset, size - part.offset)
        assert isinstance(part, SuffixByteRequest)
        length = min(part.suffix, size)
        return self._backend.get_range(path, size - length, length)
