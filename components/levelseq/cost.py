"""What a run costs: time, processor and GPU hours, and bytes, task by task.

Each door that works on data and knows its run leaves `runs/<run>/cost/<task>.json`; a task that is
tried again, another part of it, or a run that is started again, adds to it. What a task that was
killed has spent is told by nobody.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from levelseq.cohort.keys import manifest_json
from levelseq.errors import Conflict, LevelseqError
from levelseq.store import Store, join, open_store

__all__ = ["FIGURES", "Cost", "Meter", "costed", "costs_of", "metered", "total"]

SCHEMA = "levelseq.cost/1"
FIGURES = ("seconds", "cpu_hours", "gpu_hours", "bytes_read", "bytes_written")
_IO = "/proc/self/io"

Cost = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Meter:
    """Counts this process and its ended children from the moment it is made."""

    started: float = field(default_factory=time.monotonic)
    cpu_seconds: float = field(default_factory=lambda: _cpu_seconds())
    bytes: dict[str, int] = field(default_factory=lambda: _bytes())

    def as_json(self) -> Cost:
        """{"seconds", "cpu_hours", "gpu_hours", "bytes_read", "bytes_written"} so far.

        A GPU counts for as long as the meter has run, once this process has used one: that is what
        is paid for. Bytes are of files and pipes, and only where Linux counts them; what an object
        store sends goes through sockets and is not among them.
        """
        seconds = time.monotonic() - self.started
        moved = {name: value - self.bytes[name] for name, value in _bytes().items()}
        return {
            "seconds": round(seconds, 1),
            "cpu_hours": round((_cpu_seconds() - self.cpu_seconds) / 3600, 6),
            "gpu_hours": round(_gpus() * seconds / 3600, 6),
            **moved,
        }


@contextlib.contextmanager
def metered(workspace: str, run: str, task: str) -> Iterator[None]:
    """Add what is spent inside to the task's cost, however it ends."""
    meter = Meter()
    try:
        yield
    finally:
        # A cost that cannot be written is no reason to fail.
        with contextlib.suppress(LevelseqError):
            _add(open_store(join(workspace, "runs", run)), task, meter.as_json())


def costed(door: Callable[P, R]) -> Callable[P, R]:
    """A door, called by keywords, whose runs leave their cost under its name.

    Values by a model are a task of their own, `map`. A run without a name leaves nothing.
    """

    @functools.wraps(door)
    def metering(*args: P.args, **given: P.kwargs) -> R:
        workspace, run = str(given["workspace"]), str(given["run"] or "")
        task = "map" if given.get("model") or given.get("champion") else "normalize"
        task = task if door.__name__ == "normalize" else door.__name__
        with metered(workspace, run, task) if run else contextlib.nullcontext():
            return door(*args, **given)

    return metering


def costs_of(run: Store) -> dict[str, Cost]:
    """Task -> its cost, in the order in which tasks ended first.

    Args:
        run: the store of `runs/<run>`.
    """
    paths = [path for path in run.list("cost") if path.endswith(".json")]
    found = [json.loads(run.get(path)) for path in paths]
    return {cost["task"]: cost for cost in sorted(found, key=lambda c: (c["ended"], c["task"]))}


def total(costs: dict[str, Cost]) -> Cost:
    """The sums over tasks."""
    return {
        name: round(sum(cost.get(name, 0) for cost in costs.values()), 6)
        for name in FIGURES
        if any(name in cost for cost in costs.values())
    }


def _add(run: Store, task: str, spent: Cost) -> None:
    path, now = f"cost/{task}.json", time.time()
    while True:
        found = run.get_versioned(path)
        before: Cost = json.loads(found.content) if found else {"tries": 0, "ended": now}
        content = total({"before": before, "now": spent}) | {
            "schema": SCHEMA,
            "task": task,
            "tries": before["tries"] + 1,
            "ended": round(before["ended"], 3),
        }
        try:
            return run.put_if_version(path, manifest_json(content), found and found.version)
        except Conflict:
            continue


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


def _gpus() -> int:
    """GPUs that this process can see, if it has used one; torch is not imported for that."""
    torch = sys.modules.get("torch")
    return int(torch.cuda.device_count()) if torch and torch.cuda.is_initialized() else 0
