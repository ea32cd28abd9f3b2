"""Text and HDF5 files as they come: compressed or not, whole or cut off."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from levelseq.errors import BadDeposit

__all__ = ["decompressed", "naming_damage", "open_text"]

_GZIP = b"\x1f\x8b"


def decompressed(path: Path) -> IO[bytes]:
    """A file's bytes, decompressed if they are gzip, whatever its name says."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP
    return cast(IO[bytes], gzip.open(path, "rb")) if compressed else path.open("rb")


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a text file without line ends; a byte order mark is dropped."""
    with decompressed(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as text:
        yield (line.rstrip("\r\n") for line in text)


@contextlib.contextmanager
def naming_damage(where: str) -> Iterator[None]:
    """A file that cannot be read to its end is a BadDeposit, named.

    Failures of the local disk carry an errno and pass as they are.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise BadDeposit("is not text in UTF-8", where=where, do="check the format") from error
    except (EOFError, zlib.error, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadDeposit(
            "is truncated or damaged", where=where, do="copy it again and compare checksums"
        ) from error
