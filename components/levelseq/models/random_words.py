"""Random words inside kernels, from a counter: seed, step and row decide them, nothing else.

SplitMix64 (Steele, Lea & Flood 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from levelseq.normalize.compiled import kernel

__all__ = ["STEP", "as_unsigned", "next_word", "stream"]

STEP = np.uint64(0x9E3779B97F4A7C15)
"""From a state to the next."""
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)


def _unsigned(context: Any, word: Any) -> Any:
    """The bits of a signed number as those of one without a sign."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.uint64(types.int64), build


as_unsigned: Any = intrinsic(_unsigned)


@kernel
def next_word(state: Any) -> Any:
    """64 random bits of a state, which goes up by a constant from word to word."""
    z = state
    z = (z ^ (z >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@kernel
def stream(seed: int, step: int, row: int) -> Any:
    """The state that a row of a step's minibatch starts with."""
    state = next_word(as_unsigned(seed) * _MIX_2 + STEP)
    state = next_word(state ^ (as_unsigned(step) + STEP) * _MIX_1)
    return next_word(state ^ (as_unsigned(row) + STEP) * STEP)
