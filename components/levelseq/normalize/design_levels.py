"""Levels of a covariate, matched to those of a fit whatever they are written with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from levelseq.errors import BadInput

__all__ = ["level_name", "matched_levels"]


def level_name(value: Any) -> str:
    """What a level is called; a whole number the same whether it is read as 1 or as 1.0."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def matched_levels(values: Iterable[Any], known: Sequence[str], column: str) -> list[str]:
    """The level of each value: the one of its name, or of the same number.

    Args:
        values: one a sample.
        known: the levels of the fit.
        column: what to call it in messages.

    Raises:
        BadInput: a value is none of them.
    """
    numbers = {_number(level): level for level in known}
    names = [level_name(value) for value in values]
    found = [name if name in known else numbers.get(_number(name), name) for name in names]
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise BadInput(
            f"level {unknown[0]!r} was not in the fit, which had {', '.join(known)}",
            where=f"column {column!r}",
            do="leave those samples out, or fit anew",
        )
    return found


def _number(level: str) -> float | str:
    try:
        return float(level)
    except ValueError:
        return level
