"""Single precision inside kernels: exponential, logarithm, maximum, rounding to bfloat16.

Each is a few instructions without a branch, so that compilers run it on whole vectors; numba's own
are calls for one number at a time. Polynomials are those of Cephes (Moshier 1992), within two
units in the last place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["bfloat16_bits", "exp32", "float_kernel", "larger", "log32", "of_bfloat16"]

Function = TypeVar("Function", bound=Callable[..., Any])

_F32, _I32, _I16 = ir.FloatType(), ir.IntType(32), ir.IntType(16)
_LOG2_E = 1.44269504088896341
# The logarithm of 2 in two parts: the first has few digits, so that a multiple of it is exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
_LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
_MAGIC = 12582912.0
"""1.5 * 2**23: a number added to it is rounded to a whole one, in the low bits."""
_MAGIC_BITS = 0x4B400000
_HALF_ROOT_BITS = 0x3F3504F3
_LOWEST = -87.0


def float_kernel(function: Function) -> Function:
    """A kernel in which sums may be taken in any order: compilers then run them as vectors.

    The order is fixed when the kernel is compiled, so the same input gives the same bits. Compiled
    at the first call and kept on disk where that can be written. A kernel becomes part of those
    that call it: called, it would be another compilation, with other sums, in the process that
    compiles them than in one that reads them from disk.
    """
    choices: dict[str, Any] = {
        "nogil": True,
        "forceinline": True,
        "error_model": "numpy",
        "fastmath": {"reassoc", "contract", "nsz"},
    }
    compile_: Any = numba.njit
    try:
        compiled = compile_(cache=True, **choices)(function)
    except RuntimeError:
        # A read-only file system has no place for a cache; then each process compiles anew.
        compiled = compile_(**choices)(function)
    return compiled  # type: ignore[no-any-return]


def _number(value: float) -> Any:
    return ir.Constant(_F32, value)


def _bits(value: int) -> Any:
    return ir.Constant(_I32, value)


def _polynomial(builder: Any, coefficients: tuple[float, ...], x: Any) -> Any:
    value = _number(coefficients[0])
    for coefficient in coefficients[1:]:
        value = builder.fma(value, x, _number(coefficient))
    return value


def _exp(context: Any, x: Any) -> Any:
    """e to the power of x; x below -87 counts as -87, x is at most 88."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        low = _number(_LOWEST)
        x = builder.select(builder.fcmp_ordered("<", arguments[0], low), low, arguments[0])
        rounded = builder.fma(x, _number(_LOG2_E), _number(_MAGIC))
        power = builder.sub(builder.bitcast(rounded, _I32), _bits(_MAGIC_BITS))
        n = builder.fsub(rounded, _number(_MAGIC))
        r = builder.fma(n, _number(-_LN2_HIGH), x)
        r = builder.fma(n, _number(-_LN2_LOW), r)
        series = _polynomial(builder, _EXP, r)
        value = builder.fma(builder.fmul(series, r), r, builder.fadd(r, _number(1.0)))
        scale = builder.shl(builder.add(power, _bits(127)), _bits(23))
        return builder.fmul(value, builder.bitcast(scale, _F32))

    return types.float32(types.float32), build


def _log(context: Any, x: Any) -> Any:
    """Natural logarithm of a positive number that is not subnormal."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], _I32)
        exponent = builder.ashr(builder.sub(bits, _bits(_HALF_ROOT_BITS)), _bits(23))
        near_one = builder.sub(bits, builder.shl(exponent, _bits(23)))
        f = builder.fsub(builder.bitcast(near_one, _F32), _number(1.0))
        n = builder.sitofp(exponent, _F32)
        square = builder.fmul(f, f)
        y = builder.fmul(builder.fmul(f, square), _polynomial(builder, _LOG, f))
        y = builder.fma(n, _number(_LN2_LOW), y)
        y = builder.fma(square, _number(-0.5), y)
        return builder.fma(n, _number(_LN2_HIGH), builder.fadd(f, y))

    return types.float32(types.float32), build


def _larger(context: Any, a: Any, b: Any) -> Any:
    """The larger of two numbers; of NaN and a number, either."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b = arguments
        free = ("nnan", "nsz")
        more = builder.fcmp_ordered(">", a, b, flags=free)
        return builder.select(more, a, b, flags=free)

    return types.float32(types.float32, types.float32), build


def _to_bfloat16(context: Any, x: Any) -> Any:
    """The 16 bits of the nearest bfloat16, ties to even; NaN may become infinite."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], _I32)
        odd = builder.and_(builder.lshr(bits, _bits(16)), _bits(1))
        rounded = builder.add(builder.add(bits, _bits(0x7FFF)), odd)
        return builder.trunc(builder.lshr(rounded, _bits(16)), _I16)

    return types.uint16(types.float32), build


def _of_bfloat16(context: Any, bits: Any) -> Any:
    """The number that 16 bits of bfloat16 stand for."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = builder.shl(builder.zext(arguments[0], _I32), _bits(16))
        return builder.bitcast(wide, _F32)

    return types.float32(types.uint16), build


exp32: Any = intrinsic(_exp)
log32: Any = intrinsic(_log)
larger: Any = intrinsic(_larger)
bfloat16_bits: Any = intrinsic(_to_bfloat16)
of_bfloat16: Any = intrinsic(_of_bfloat16)
