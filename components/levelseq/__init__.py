"""Comparable cohorts from the counts of many labs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from levelseq.cohort import open_cohort, open_normalized
    from levelseq.models.saving import load_model
    from levelseq.normalize.counts import normalize_counts

__version__ = "0.1.0"

__all__ = ["load_model", "normalize_counts", "open_cohort", "open_normalized"]

_HOMES = {
    "load_model": "levelseq.models.saving",
    "normalize_counts": "levelseq.normalize.counts",
    "open_cohort": "levelseq.cohort",
    "open_normalized": "levelseq.cohort",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `import levelseq` alone must not cost an import of torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'levelseq' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What is offered is listed before it is imported."""
    return sorted({*globals(), *__all__})
