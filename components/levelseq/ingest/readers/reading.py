"""What every reader gives, and what every reader refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.errors import BadDeposit

__all__ = ["BLOCK_VALUES", "Files", "Format", "Reading", "first_bad", "refuse_count"]

# Values that one block may hold: bounds memory whatever the shape of a deposit.
BLOCK_VALUES = 1 << 24

_LARGEST = np.iinfo(np.uint32).max

Files = dict[str, Path]


@dataclass(frozen=True)
class Reading:
    """One deposit: names first, counts in blocks.

    Attributes:
        barcodes: names of the observations, as delivered.
        genes: names of the genes, as delivered.
        obs: columns that the deposit itself has about its observations (may have none).
        blocks: consecutive observations x genes, uint32 without explicit zeros.
    """

    barcodes: list[str]
    genes: list[str]
    obs: pd.DataFrame
    blocks: Iterator[sp.csr_matrix]


@dataclass(frozen=True)
class Format:
    """How deposits of one format are read, from local files named by their part.

    Attributes:
        count: number of observations, without reading the counts.
        read: the deposit; its second argument is its address, for errors, its third a folder
            for scratch files.
    """

    count: Callable[[Files, str], int]
    read: Callable[[Files, str, Path], Reading]


def first_bad(values: np.ndarray[Any, Any]) -> int | None:
    """The place of the first value that is not a count that uint32 holds, or None."""
    # NaN compares false, so it fails the first test; inf fails the second.
    good = (values >= 0) & (values <= _LARGEST)
    if not np.issubdtype(values.dtype, np.integer):
        good &= np.floor(values) == values
    return None if good.all() else int(np.argmin(good))


def refuse_count(value: float, place: str, where: str, do: str = "") -> BadDeposit:
    """The error for a value that is not a count."""
    if np.isnan(value):
        what, out = "a count is missing or NaN", "give 0 where nothing was counted"
    elif value < 0:
        what, out = f"{value:g} is negative", "give raw counts"
    elif value > _LARGEST:
        what, out = f"{value:g} is too large for a count", "give raw counts"
    else:
        what, out = f"{value:g} is not a whole number", "give raw counts, not normalized values"
    return BadDeposit(f"{what}, at {place}", where=where, do=do or out)
