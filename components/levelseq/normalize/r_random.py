"""R's random numbers, so that answers which rest on its `sample` can be had without R.

The Mersenne twister is numpy's; seeding and rejection sampling are R's (since 3.6.0), see
`?RNGkind` in R.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["RRandom"]

Int = NDArray[np.int64]

_STATE = 624
_TWO_TO_MINUS_32 = 2.3283064365386963e-10


class RRandom:
    """The stream that R has after `set.seed(seed)`."""

    def __init__(self, seed: int) -> None:
        word = seed & 0xFFFFFFFF
        for _ in range(50):
            word = (69069 * word + 1) & 0xFFFFFFFF
        words = []
        for _ in range(_STATE + 1):
            word = (69069 * word + 1) & 0xFFFFFFFF
            words.append(word)
        # The first word is R's place in the state, which seeding sets to its end.
        key = np.array(words[1:], dtype=np.uint32)
        self._bits = np.random.MT19937()
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": _STATE}}

    def uniform(self) -> float:
        """The next number of `runif(1)`, strictly between 0 and 1."""
        value = int(self._bits.random_raw()) * _TWO_TO_MINUS_32
        return min(max(value, 0.5 * _TWO_TO_MINUS_32), 1.0 - 0.5 * _TWO_TO_MINUS_32)

    def sample(self, n: int, size: int | None = None, *, replace: bool = False) -> Int:
        """What `sample.int(n, size, replace)` gives, counted from 0."""
        size = n if size is None else size
        if replace:
            return np.array([self._below(n) for _ in range(size)], dtype=np.int64)
        if size > n:
            raise ValueError(f"cannot draw {size} of {n} without replacement")
        urn = list(range(n))
        drawn = np.empty(size, dtype=np.int64)
        for i in range(size):
            j = self._below(n - i)
            drawn[i] = urn[j]
            urn[j] = urn[n - i - 1]
        return drawn

    def _below(self, n: int) -> int:
        """A whole number from 0 to n - 1, by as many bits as it needs, again until it fits."""
        bits = math.ceil(math.log2(n)) if n > 1 else 0
        while True:
            value = self._bits_of(bits)
            if value < n:
                return value

    def _bits_of(self, bits: int) -> int:
        value = 0
        for _ in range(0, bits + 1, 16):
            value = 65536 * value + math.floor(self.uniform() * 65536)
        return value & ((1 << bits) - 1) if bits < 64 else value
