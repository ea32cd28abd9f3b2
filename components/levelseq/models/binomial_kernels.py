"""Binomial draws inside kernels, from random words.

A draw compares random binary fractions with a probability digit by digit, many at once: of the
trials whose digits so far equal the probability's, those with a smaller next digit succeed. It is
exact for probabilities in 65,536ths.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from levelseq.models.random_words import STEP, as_unsigned, next_word
from levelseq.normalize.compiled import kernel

__all__ = ["thinned"]

F32 = NDArray[np.float32]

_DIGITS = 16
_16, _32, _48 = np.uint64(16), np.uint64(32), np.uint64(48)
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


_set_bits: Any = intrinsic(_population_count)


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
        kept_N[i] = _of_four(next_word(state + np.uint64(i) * STEP), count_N[i], threshold)
    state += np.uint64(n) * STEP
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
            state += STEP
            word = next_word(state)
            if left < _WORD:
                word &= ~(_ALL << as_unsigned(left))
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
