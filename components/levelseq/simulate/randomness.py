"""Independent random streams: a draw depends on the seed and its purpose, on no other draw."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["generator"]


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """The stream of a seed and a purpose.

    What is drawn for one deposit does not move when another is added or left out.
    """
    digest = hashlib.sha256("\0".join(map(str, purpose)).encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "big") for i in range(0, 16, 4)]
    return np.random.default_rng([seed, *words])
