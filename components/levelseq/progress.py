"""What a person or a log collector sees while a step works: one line a stage, on stderr.

On a terminal the line is for reading; elsewhere it is one JSON object. Donor ids and barcodes
are never given to these functions. Of several processes that torchrun started the first speaks.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

__all__ = ["is_for_reading", "notice", "relay", "speaks", "stage"]

Fact = str | int | float | bool | None


def stage(step: str, message: str, **facts: Fact) -> None:
    """A stage of a step has ended: `step`, what was done, and its figures."""
    _line("info", step, message, facts)


def notice(step: str, message: str, **facts: Fact) -> None:
    """Something that a user should know, though the run goes on."""
    _line("notice", step, message, facts)


def speaks() -> bool:
    """Whether this process is the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def is_for_reading() -> bool:
    """Whether lines go to a person rather than to a collector."""
    return sys.stderr.isatty() or os.environ.get("LEVELSEQ_LOG") == "text"


def relay(record: dict[str, Any], *, for_reading: bool) -> None:
    """Show again a line that another process logged as JSON."""
    facts = {key: value for key, value in record.items() if key not in _FIXED}
    _line(str(record["level"]), str(record["step"]), str(record["message"]), facts, for_reading)


_FIXED = ("time", "level", "step", "message")


def _line(
    level: str, step: str, message: str, facts: dict[str, Fact], for_reading: bool | None = None
) -> None:
    if not speaks() or (os.environ.get("LEVELSEQ_QUIET") and level == "info"):
        return
    if is_for_reading() if for_reading is None else for_reading:
        figures = ", ".join(f"{key} {value}" for key, value in facts.items())
        mark = "! " if level == "notice" else ""
        print(f"{mark}{step}: {message}" + (f" ({figures})" if figures else ""), file=sys.stderr)
    else:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record = {"time": now, "level": level, "step": step, "message": message, **facts}
        print(json.dumps(record, ensure_ascii=False), file=sys.stderr, flush=True)
