"""Frozen states survive as JSON and arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from levelseq.normalize.packing import pack, unpack


@dataclass(frozen=True)
class Inner:
    name: str
    level_G: np.ndarray


@dataclass(frozen=True)
class Outer:
    batches: tuple[str, ...]
    coding: dict[str, tuple[str, ...]]
    inner: Inner | None
    other: Inner | None
    flag: bool = False


def test_states_within_states_come_back_as_they_were():
    inner = Inner("x", np.arange(6.0).reshape(2, 3))
    state = Outer(("a", "b"), {"sex": ("F", "M"), "age": ()}, inner, None, True)
    arrays = {}
    facts = json.loads(json.dumps(pack(state, "s.", arrays)))
    assert list(arrays) == ["s.inner.level_G"]
    back = unpack(Outer, facts, "s.", arrays)
    assert (back.batches, back.coding, back.other, back.flag) == (
        ("a", "b"),
        {"sex": ("F", "M"), "age": ()},
        None,
        True,
    )
    assert back.inner.name == "x"
    np.testing.assert_array_equal(back.inner.level_G, inner.level_G)


def test_a_field_that_an_older_state_lacks_has_its_default():
    facts = {"batches": ["a"], "coding": {}, "inner": None, "other": None}
    assert unpack(Outer, facts, "", {}).flag is False
