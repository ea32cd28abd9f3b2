"""Logarithms and exponentials that the C library rounds, as R's are; numpy has its own.

For searches and fits in which the last bit of a value shows in the ninth digit of the answer.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["exp", "log"]

F64 = NDArray[np.float64]

_HIGHEST = 709.78


def log(values: F64) -> F64:
    """Natural logarithms of positive numbers."""
    return np.array([math.log(value) for value in values.tolist()])


def exp(values: F64) -> F64:
    """Exponentials, infinite where they are too large."""
    return np.array([math.exp(v) if v < _HIGHEST else math.inf for v in values.tolist()])
