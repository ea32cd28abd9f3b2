"""Batch levels that lie along a line: dates, or numbers such as a run's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from levelseq.errors import BadOption

__all__ = ["AUTO", "NONE", "choose_ordered", "positions"]

AUTO, NONE = "auto", "none"
_MONTH = re.compile(r"\d{4}-\d{2}")


def positions(values: Iterable[str], level: str) -> dict[str, float]:
    """Where each value of a level lies: numbers as they are, ISO dates and times in seconds.

    A month stands for its first day, a time without a zone for UTC. Spaces around a value count
    for nothing.

    Raises:
        BadOption: a value is neither, or some are numbers and some are dates.
    """
    values = list(dict.fromkeys(values))
    known: dict[str, dict[str, float]] = {}
    for kind, read in (("number", _number), ("ISO date", _date)):
        found = {value: read(value.strip()) for value in values}
        known[kind] = {value: place for value, place in found.items() if place is not None}
        if len(known[kind]) == len(values):
            return known[kind]
    kind = max(known, key=lambda kind: len(known[kind]))
    odd = next(value for value in values if value not in known[kind])
    raise BadOption(
        f"batch level {level!r} has no order: {odd!r} is no {kind}, as its other values are"
        if known[kind]
        else f"batch level {level!r} has no order: {odd!r} is neither a number nor an ISO date",
        where="--ordered",
        do=f"write every {level} as 2024-03-31 or as a number, or give --ordered {NONE}",
    )


def choose_ordered(
    text: str, levels: Sequence[str], date: str | None, values: dict[str, set[str]]
) -> tuple[tuple[str, ...], str]:
    """Which levels of a batch tree are ordered, and why.

    Args:
        text: `auto`, `none`, or names with `>` as in a batch tree.
        levels: of the tree; a level that does not vary is not among them.
        date: the column that plays the role, if any.
        values: of each column that may be named.

    Returns:
        The levels, and a reason; no reason where there is nothing to choose.

    Raises:
        BadOption: a name is no batch level, or its values have no order.
    """
    if text == NONE or (text == AUTO and date not in levels):
        return (), ""
    asked = [date or ""] if text == AUTO else [name.strip() for name in text.split(">")]
    for name in asked:
        if name not in values:
            raise BadOption(
                f"{name!r} is no batch level",
                where="--ordered",
                do=f"batch levels are {', '.join(values)}",
            )
        try:
            positions(values[name], name)
        except BadOption as error:
            if text != AUTO:
                raise
            return (), f"{error.message}; its batches are taken without one"
    ordered = tuple(name for name in levels if name in asked)
    walk = "effects of {} are a random walk along its order: each differs little from the last"
    return ordered, walk.format(" and ".join(map(repr, ordered))) if ordered else ""


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(value: str) -> float | None:
    try:
        moment = datetime.fromisoformat(f"{value}-01" if _MONTH.fullmatch(value) else value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
