"""Google Cloud Storage through google-cloud-storage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import google.auth
from google.api_core import exceptions as raised
from google.auth import exceptions as unproven
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from zarr.abc.store import Store as ZarrStore

from levelseq.errors import BadOption
from levelseq.store.backend import Failures, Stamp, Versioned
from levelseq.store.encryption import gs_key
from levelseq.store.zarr_view import ZarrView

__all__ = ["GoogleBucket"]

EMULATOR = "STORAGE_EMULATOR_HOST"
# Every write here may be repeated: plain ones put the same bytes, the others name a generation.
RETRY = DEFAULT_RETRY.with_delay(initial=0.5, maximum=8.0).with_timeout(30.0)
_CHUNK = 16 << 20
_RACES = 5


class GoogleBucket:
    """A bucket below a prefix; an object's version is its generation."""

    failures = Failures(
        missing=(raised.NotFound,),
        taken=(raised.PreconditionFailed,),
        denied=(raised.Forbidden, raised.Unauthorized, unproven.RefreshError),
        failed=(
            raised.GoogleAPIError,
            unproven.GoogleAuthError,
            OSError,
        ),
    )

    def __init__(self, bucket: str, prefix: str) -> None:
        self._client = _entered(bucket)
        self._bucket = self._client.bucket(bucket)
        self._prefix = f"{prefix}/" if prefix else ""
        self._key_name = gs_key()

    def get(self, path: str) -> bytes:
        """The bytes of one object."""
        return bytes(self._blob(path).download_as_bytes(retry=RETRY))

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """`length` bytes of one object from `start`."""
        if length == 0:
            return b""
        end = start + length - 1
        return bytes(self._blob(path).download_as_bytes(start=start, end=end, retry=RETRY))

    def get_versioned(self, path: str) -> Versioned:
        """The bytes of one object and their generation."""
        for race in range(_RACES):
            looked_at = self._blob(path)
            looked_at.reload(retry=RETRY)
            generation = int(looked_at.generation)
            try:
                # A blob of its own: the other one would go to the old generation's link.
                content = self._blob(path).download_as_bytes(
                    if_generation_match=generation, retry=RETRY
                )
                return Versioned(bytes(content), str(generation))
            except raised.PreconditionFailed:
                # Somebody replaced it between the two requests.
                if race == _RACES - 1:
                    raise
        raise AssertionError("the last race is lost or won")

    def size(self, path: str) -> int:
        """Bytes of one object."""
        blob = self._blob(path)
        blob.reload(retry=RETRY)
        return int(blob.size)

    def put(self, path: str, content: bytes) -> None:
        """Write an object."""
        self._upload(path, content, None)

    def create(self, path: str, content: bytes) -> None:
        """Write an object that must not be there: generation 0 means that."""
        self._upload(path, content, 0)

    def replace(self, path: str, content: bytes, version: str) -> None:
        """Write an object that must still have a generation."""
        self._upload(path, content, int(version))

    def list(self, prefix: str) -> list[str]:
        """Paths of all objects below a folder."""
        return list(self.stamps(prefix))

    def stamp(self, path: str) -> Stamp:
        """The generation of one object."""
        blob = self._blob(path)
        blob.reload(retry=RETRY)
        return Stamp(str(blob.generation))

    def stamps(self, prefix: str) -> dict[str, Stamp]:
        """Generations of all objects below a folder."""
        below = self._prefix + (f"{prefix.rstrip('/')}/" if prefix else "")
        rows = self._client.list_blobs(
            self._bucket, prefix=below, fields="items(name,generation),nextPageToken", retry=RETRY
        )
        return {
            str(row.name).removeprefix(self._prefix): Stamp(str(row.generation)) for row in rows
        }

    def delete(self, path: str) -> None:
        """Remove one object."""
        self._blob(path).delete(retry=RETRY)

    def delete_rest(self, prefix: str) -> None:
        """Nothing: a bucket has no folders."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one object, part by part."""
        with self._blob(path).open("rb", chunk_size=_CHUNK, retry=RETRY) as content:
            while chunk := content.read(_CHUNK):
                yield chunk

    def local_file(self, path: str) -> Path | None:
        """None: it is elsewhere."""
        return None

    def zarr(self, path: str) -> ZarrStore:
        """A read-only Zarr store at a path."""
        return ZarrView(self, path)

    def _blob(self, path: str) -> storage.Blob:
        return self._bucket.blob(f"{self._prefix}{path}")

    def _upload(self, path: str, content: bytes, generation: int | None) -> None:
        blob = self._bucket.blob(f"{self._prefix}{path}", kms_key_name=self._key_name)
        blob.upload_from_string(
            content,
            content_type="application/octet-stream",
            if_generation_match=generation,
            retry=RETRY,
        )


def _entered(bucket: str) -> storage.Client:
    try:
        return _client(os.environ.get(EMULATOR, ""))
    except unproven.DefaultCredentialsError as error:
        raise BadOption(
            "no Google credentials found",
            where=f"gs://{bucket}",
            do="set GOOGLE_APPLICATION_CREDENTIALS, or the pod's workload identity",
        ) from error


@lru_cache(maxsize=8)
def _client(emulator: str) -> storage.Client:
    """One client, and so one pool of connections, a process.

    It wants a project's name, which reading and writing objects does not need.
    """
    if emulator:
        return storage.Client(project="none", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    credentials, project = google.auth.default(
        scopes=["https://www.googleapis.com/auth/devstorage.read_write"]
    )
    return storage.Client(project=project or "none", credentials=credentials)
