"""What a run on this machine costs: processor time and bytes of this process and its children."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Meter"]

_IO = "/proc/self/io"


def _cpu_seconds() -> float:
    spent = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _bytes() -> dict[str, int]:
    """Bytes read and written by system calls; those of children that have ended are among them."""
    if not os.access(_IO, os.R_OK):
        return {}
    with open(_IO, encoding="ascii") as lines:
        found = dict(line.split(": ") for line in lines)
    return {"bytes_read": int(found["rchar"]), "bytes_written": int(found["wchar"])}


@dataclass(frozen=True)
class Meter:
    """Counts from the moment it is made."""

    cpu_seconds: float = field(default_factory=_cpu_seconds)
    bytes: dict[str, int] = field(default_factory=_bytes)

    def as_json(self) -> dict[str, Any]:
        """{"cpu_hours", "bytes_read", "bytes_written"} so far.

        Bytes are of files and pipes, and only where Linux counts them; what an object store sends
        goes through sockets and is not among them.
        """
        moved = {name: value - self.bytes[name] for name, value in _bytes().items()}
        return {"cpu_hours": round((_cpu_seconds() - self.cpu_seconds) / 3600, 6), **moved}
