"""x^-1 and x^-2 as the C library's `pow` rounds them, without its cost, for use in kernels.

`pow` is all but always the nearest number, which a division finds. Only where the true value lies
all but halfway between two numbers may the two differ; there `pow` itself is asked.
"""

from __future__ import annotations

import math
from typing import Any

from levelseq.normalize.compiled import kernel
from levelseq.normalize.fast_log import fma

__all__ = ["fused", "inverse", "inverse_square"]

fused: Any = fma
"""`a * b + c`, rounded once; the intrinsic itself has no type that a checker reads."""

_ALL_BUT_HALF = 0.48
# So much of a number, added to it, gives the next one (Rump, Zimmermann, Boldo & Melquiond 2009).
_TO_NEXT = 2.0**-53 * (1 + 2.0**-52)


@kernel
def inverse(x: float) -> float:
    """x^-1 of a positive number."""
    nearest = 1.0 / x
    away = fused(-nearest, x, 1.0) * nearest
    if abs(away) < _ALL_BUT_HALF * (nearest + nearest * _TO_NEXT - nearest):
        return nearest
    # An exponent that the compiler cannot see, or it would make a division of this.
    return math.pow(x, -math.copysign(1.0, x))


@kernel
def inverse_square(x: float) -> float:
    """x^-2 of a positive number."""
    square = x * x
    lost = fused(x, x, -square)
    near = 1.0 / square
    more = near * (fused(-near, square, 1.0) - near * lost)
    nearest: float = near + more
    away = more - (nearest - near)
    if abs(away) < _ALL_BUT_HALF * (nearest + nearest * _TO_NEXT - nearest):
        return nearest
    return math.pow(x, -2.0 * math.copysign(1.0, x))
