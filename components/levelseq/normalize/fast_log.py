"""Natural logarithm of positive normal numbers, in a form that compilers run on whole vectors.

Within one unit in the last place. The library's `log` is a call for each number, and negative
binomial fits take little else.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from levelseq.normalize.compiled import kernel

__all__ = ["fast_log", "fma"]

# The logarithm of 2 in two parts: the first has few digits, so that a multiple of it is exact.
_LN2_HIGH = 0.6931471804855391
_LN2_LOW = 7.440617110012397e-11
_HALF_ROOT_BITS = 0x3FE6A09E667F3BCD
_MAGIC_BITS = 0x4338000000000000
_MAGIC = 6755399441055744.0


def _as_bits(context: Any, x: Any) -> Any:
    """The 64 bits of a double as a whole number."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), build


def _as_double(context: Any, bits: Any) -> Any:
    """The double that has these 64 bits."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), build


def _multiplied_and_added(context: Any, a: Any, b: Any, c: Any) -> Any:
    """`a * b + c`, rounded once."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), build


_bits: Any = intrinsic(_as_bits)
_double: Any = intrinsic(_as_double)
fma: Any = intrinsic(_multiplied_and_added)
"""`a * b + c`, rounded once."""


@kernel
def fast_log(x: float) -> float:
    """Natural logarithm of a positive number that is not subnormal."""
    bits = _bits(x)
    exponent = (bits - _HALF_ROOT_BITS) >> 52
    f = _double(bits - (exponent << 52)) - 1.0
    # A whole number below 2^51 in the low bits of a large double: vectors have no cast for it.
    k = _double(exponent + _MAGIC_BITS) - _MAGIC
    s = f / (2.0 + f)
    z = s * s
    # (log((1 + s) / (1 - s)) - 2 s) / (s z), interpolated at Chebyshev's points.
    series = fma(0.14616576421644387, z, 0.15331711346672997)
    series = fma(series, z, 0.18182889433757515)
    series = fma(series, z, 0.22222211130560726)
    series = fma(series, z, 0.28571428626001427)
    series = fma(series, z, 0.3999999999989945)
    series = fma(series, z, 0.666666666666667)
    half = 0.5 * f * f
    return float(k * _LN2_HIGH - ((half - fma(s, half + series * z, k * _LN2_LOW)) - f))
