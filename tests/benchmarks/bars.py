"""The bars of a benchmark: met, missed, or not measured."""

from __future__ import annotations

import sys

__all__ = ["end_with"]


def end_with(bars: dict[str, bool | None]) -> None:
    """Print each bar; None was not measured. End the process with 1 if one is missed."""
    for text, met in bars.items():
        said = "not measured" if met is None else "met" if met else "MISSED"
        print(f"{said:12s}  {text}")
    sys.exit(1 if False in bars.values() else 0)
