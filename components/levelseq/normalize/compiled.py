"""Kernels that numba compiles, and the threads that run them.

A kernel works on a block of samples or genes and holds no lock while it runs, so blocks go to
plain threads. Blocks do not depend on the number of threads: neither do results.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba

__all__ = ["blocks", "in_threads", "kernel", "n_threads"]

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")


def kernel(function: Function) -> Function:
    """The function, compiled at its first call and kept on disk where that can be written."""
    compile_: Any = numba.njit
    try:
        compiled = compile_(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        # A read-only file system has no place for a cache; then each process compiles anew.
        compiled = compile_(nogil=True, error_model="numpy")(function)
    return compiled  # type: ignore[no-any-return]


def n_threads() -> int:
    """Threads to use: OMP_NUM_THREADS where it is set, else the cores this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    # Not every system tells which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blocks(n: int, size: int) -> list[slice]:
    """Slices of at most `size` that cover `n`."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def in_threads(work: Callable[[slice], Result], slices: Sequence[slice]) -> list[Result]:
    """The results of `work` on each slice, in order; the slices run beside each other."""
    if len(slices) < 2 or n_threads() < 2:
        return [work(part) for part in slices]
    with ThreadPoolExecutor(n_threads()) as pool:
        return list(pool.map(work, slices))
