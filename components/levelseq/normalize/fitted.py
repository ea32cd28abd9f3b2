"""What every size factor method hands back of the samples it has read."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fitted", "Measured"]

F64 = NDArray[np.float64]
StateT = TypeVar("StateT")


class Measured(NamedTuple):
    """Of each sample: its factor as the method's own package scales it, and its library."""

    native_S: F64
    library_S: F64


class Fitted(NamedTuple, Generic[StateT]):
    """The frozen state, and the same of the fit's own samples."""

    state: StateT
    native_S: F64
    library_S: F64
