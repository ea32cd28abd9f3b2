"""Products of matrices whose factors are rounded to bfloat16, where a processor gains by it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["narrow_products", "rounded_on_device", "rounded_products"]


@functools.cache
def narrow_products() -> bool:
    """Whether the processor multiplies matrices of bfloat16 several times faster than float32."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


@contextlib.contextmanager
def rounded_products(rounded: bool) -> Iterator[None]:
    """Whether products of float32 matrices on CPU may round their factors to bfloat16.

    Sums are kept in float32 either way.
    """
    setting: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009
    before, wanted = setting.fp32_precision, "bf16" if rounded else "ieee"
    if before == wanted:
        yield
        return
    setting.fp32_precision = wanted
    try:
        yield
    finally:
        setting.fp32_precision = before


@contextlib.contextmanager
def rounded_on_device() -> Iterator[None]:
    """Products of float32 matrices on a CUDA device round their factors to TF32, summed in float32.

    Rounding to bfloat16 would be no quicker: a step's products wait for memory.
    """
    setting: Any = torch.backends.cuda.matmul
    before, setting.fp32_precision = setting.fp32_precision, "tf32"
    try:
        yield
    finally:
        setting.fp32_precision = before
