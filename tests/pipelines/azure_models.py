"""Whether a request is one that Azure's own models know: every key, model, choice and type."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator
from typing import Any


def check(model: Any, content: dict[str, Any]) -> None:
    """AssertionError for a key, a choice or a type that the model has not."""
    filled = model(content)
    # The models fill their tables of fields when they are first made.
    fields = {field._rest_name: (name, field) for name, field in filled._attr_to_rest_field.items()}
    for key, value in content.items():
        assert key in fields, f"{model.__name__} has no {key}; it has {sorted(fields)}"
        name, field = fields[key]
        getattr(filled, name)
        _check_value(set(_kinds(field._type)), value, key)


def _check_value(kinds: set[Any], value: Any, key: str) -> None:
    below = [kind for kind in kinds if hasattr(kind, "_attr_to_rest_field")]
    choices = [kind for kind in kinds if isinstance(kind, enum.EnumMeta)]
    if below:
        for one in value if isinstance(value, list) else [value]:
            check(below[0], one)
    elif choices:
        assert value in [choice.value for choice in choices[0]], f"{key}: {value}"
    else:
        plain = {kind for kind in kinds if kind in (str, int, bool)}
        assert not plain or type(value) in plain, f"{key}: {value}"


def _kinds(way: Any) -> Iterator[Any]:
    """Every class in the nest of functions that reads one field."""
    if isinstance(way, functools.partial):
        for part in way.args:
            yield from _kinds(part)
    elif isinstance(way, list):
        for part in way:
            yield from _kinds(part)
    elif isinstance(way, type):
        yield way
