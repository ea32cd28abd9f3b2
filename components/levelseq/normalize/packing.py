"""A fitted state as plain facts and arrays, and back: no pickles, equal states give equal bytes."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack", "unpack"]

Arrays = dict[str, NDArray[Any]]


def pack(state: Any, prefix: str, arrays: Arrays) -> dict[str, Any]:
    """A state's plain fields; its arrays, and those of states in it, go to `arrays`."""
    facts: dict[str, Any] = {}
    for item in dataclasses.fields(state):
        value = getattr(state, item.name)
        if isinstance(value, np.ndarray):
            arrays[prefix + item.name] = np.ascontiguousarray(value)
        elif dataclasses.is_dataclass(value):
            facts[item.name] = pack(value, f"{prefix}{item.name}.", arrays)
        else:
            facts[item.name] = value
    return facts


def unpack(kind: type[Any], facts: dict[str, Any], prefix: str, arrays: Arrays) -> Any:
    """The state of a kind from what `pack` gave, read back from JSON."""
    hints = typing.get_type_hints(kind)
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(kind):
        if prefix + item.name in arrays:
            fields[item.name] = arrays[prefix + item.name]
        elif item.name in facts:
            inner = _state_among(hints[item.name]) if isinstance(facts[item.name], dict) else None
            value = facts[item.name]
            fields[item.name] = (
                unpack(inner, value, f"{prefix}{item.name}.", arrays) if inner else _tuples(value)
            )
    return kind(**fields)


def _state_among(hint: Any) -> type[Any] | None:
    """The dataclass that a field holds, alone or beside None."""
    for kind in (hint, *typing.get_args(hint)):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return kind
    return None


def _tuples(value: Any) -> Any:
    """JSON has no tuples, and states have no lists."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
