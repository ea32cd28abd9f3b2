"""Binomial draws inside kernels, from a counter: seed, step and row decide them, nothing else.

Random words are SplitMix64 (Steele, Lea & Flood 2014). A draw compares random binary fractions
with a probability digit by digit, many at once: of the trials whose digits so far equal the
probability's, those with a smaller next digit succeed. It is exact for probabilities in 65,536ths.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from levelseq.normalize.compiled import kernel

__all__ = ["next_word", "stream", "thinned"]

F32 = NDArray[np.float32]

_DIGITS = 16
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_16, _27, _30, _31 = np.uint64(16), np.uint64(27), np.uint64(30), np.uint64(31)
_32, _48 = np.uint64(32), np.uint64(48)
_LOW = np.uint64(0xFFFF)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_WORD = 64
_AT_ONCE = 4
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


def _population_count(context: Any, word: Any) -> Any:
    """How many of 64 bits are set."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), build


def _unsigned(context: Any, word: Any) -> Any:
    """The bits of a signed number as those of one without a sign."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.uint64(types.int64), build


_set_bits: Any = intrinsic(_population_count)
_as_unsigned: Any = intrinsic(_unsigned)


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
    state = next_word(_as_unsigned(seed) * _MIX_2 + _STEP)
    state = next_word(state ^ (_as_unsigned(step) + _STEP) * _MIX_1)
    return next_word(state ^ (_as_unsigned(row) + _STEP) * _STEP)


@kernel
def thinned(count_N: F32, threshold: int, state: Any, kept_N: F32) -> None:
    """A binomial draw for each count: how many of it are kept.

    Args:
        count_N: counts, whole numbers.
        threshold: the probability of keeping one times 65,536, at most 65,535.
        state: of the random words.
        kept_N: the answer.
    """
    n = len(count_N)
    # Draws of small counts have no loop and no jump, so that many are done at once.
    for i in range(n):
        kept_N[i] = _of_four(next_word(state + np.uint64(i) * _STEP), count_N[i], threshold)
    state += np.uint64(n) * _STEP
    for i in range(n):
        if count_N[i] > _AT_ONCE:
            kept, state = _of_many(int(count_N[i]), threshold, state)
            kept_N[i] = kept


@kernel
def _of_four(word: Any, count: Any, threshold: int) -> Any:
    """Successes among up to four trials, from 16 bits of a word each."""
    found = _ZERO
    found += _ONE if (np.int64(word & _LOW) < threshold) & (count > 0) else _ZERO
    found += _ONE if (np.int64((word >> _16) & _LOW) < threshold) & (count > 1) else _ZERO
    found += _ONE if (np.int64((word >> _32) & _LOW) < threshold) & (count > 2) else _ZERO
    found += _ONE if (np.int64(word >> _48) < threshold) & (count > 3) else _ZERO
    return found


@kernel
def _of_many(n: int, threshold: int, state: Any) -> Any:
    """Successes among n trials, and the state after them."""
    undecided, found = n, 0
    for digit in range(_DIGITS - 1, -1, -1):
        ones, left = 0, undecided
        while left > 0:
            state += _STEP
            word = next_word(state)
            if left < _WORD:
                word &= ~(_ALL << _as_unsigned(left))
            ones += _set_bits(word)
            left -= _WORD
        if (threshold >> digit) & 1:
            found += undecided - ones
            undecided = ones
        else:
            undecided -= ones
        if undecided == 0:
            break
    return found, state
