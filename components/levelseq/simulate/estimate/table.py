"""The table as a whole: every entry with the set that it came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from levelseq.errors import BadAddress
from levelseq.simulate.estimate.batches import from_chemistries, from_lung_lines
from levelseq.simulate.estimate.cells import from_pancreas
from levelseq.simulate.estimate.condition import from_stimulation

__all__ = ["as_json", "estimate"]

_COMMAND = "python -m levelseq.simulate.estimate FOLDER effects.json"
_SOURCES = {
    "pancreas_baron_h1": from_pancreas,
    "lung_lines": from_lung_lines,
    "pbmc_chemistries": from_chemistries,
    "kang_muscat": from_stimulation,
}


def estimate(folder: Path) -> dict[str, Any]:
    """The content of `effects.json`, from a folder with the real sets; values to four digits.

    Raises:
        BadAddress: a set is not in the folder.
    """
    table: dict[str, Any] = {}
    for name, source in _SOURCES.items():
        try:
            entries = source(folder)
        except FileNotFoundError as error:
            raise BadAddress(
                "a set that the table is estimated from is not there",
                where=str(error.filename or folder / name),
                do="give the folder that holds " + ", ".join(_SOURCES),
            ) from error
        for key, entry in entries.items():
            table[key] = {"set": name, **_rounded(entry)}
    return {"schema": "levelseq.effects/1", "command": _COMMAND, "effects": table}


def as_json(table: dict[str, Any]) -> str:
    """The table's text."""
    return json.dumps(table, indent=1, sort_keys=True) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return value
