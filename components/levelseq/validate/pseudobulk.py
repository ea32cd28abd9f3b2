"""Pseudobulk: the sums of each donor's observations in each batch and condition.

Shapes: U units, G genes, C cells (observations).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from levelseq.normalize.chunks import as_dense

__all__ = ["Pseudobulk", "Units", "log_cpm"]

F64 = NDArray[np.float64]
Text = NDArray[Any]

_LEAST_IN_UNIT = 5


@dataclass(frozen=True)
class Units:
    """Which observations are summed, and what the sums are.

    Attributes:
        code_C: unit of each observation, -1 for one without a condition or in a unit too small.
        batch_U: leaf batch of each unit.
        condition_U: condition of each unit.
        donor_U: number of the donor of each unit; without donors each unit counts as one.
    """

    code_C: NDArray[np.int64]
    batch_U: Text
    condition_U: Text
    donor_U: NDArray[np.int64]

    @classmethod
    def of(cls, batch_C: Text, condition_C: Text, donor_C: Text | None, *, single: bool) -> Units:
        """Donor x batch x condition, or batch x condition without donors.

        Args:
            batch_C: leaf batch of each observation.
            condition_C: condition; an empty text is missing.
            donor_C: donor of each observation, if the study says.
            single: each observation is a unit of its own, as bulk samples are.
        """
        donor = np.full(len(batch_C), "") if donor_C is None else donor_C
        third = np.arange(len(batch_C)).astype(str) if single else donor
        keys = list(zip(batch_C, condition_C, third))
        names = sorted(set(keys))
        number = {key: i for i, key in enumerate(names)}
        code = np.array([number[key] for key in keys], dtype=np.int64)
        enough = np.bincount(code, minlength=len(names)) >= (1 if single else _LEAST_IN_UNIT)
        keep = enough & np.array([key[1] != "" for key in names])
        new = np.where(keep, np.cumsum(keep) - 1, -1)
        kept = [key for key, good in zip(names, keep) if good]
        batch, condition = (np.array([key[i] for key in kept], dtype=str) for i in (0, 1))
        first = np.unique(code, return_index=True)[1]
        return cls(new[code], batch, condition, _numbered(donor[first[keep]]))


def _numbered(donor_U: Text) -> NDArray[np.int64]:
    """Numbers of donors in place of their names; an unknown one is a donor of its own."""
    unknown = donor_U == ""
    codes = np.unique(donor_U, return_inverse=True)[1].astype(np.int64)
    codes[unknown] = codes.max(initial=0) + 1 + np.arange(unknown.sum())
    return codes


@dataclass
class Pseudobulk:
    """Sums over units, added to shard by shard.

    Attributes:
        units: what is summed.
        raw_UG: counts.
        level_UG: levelled expression as counts of the same libraries, in CPM x library / 1e6.
        library_U: counts over all genes.
    """

    units: Units
    raw_UG: F64
    level_UG: F64
    library_U: F64

    @classmethod
    def empty(cls, units: Units, n_genes: int) -> Pseudobulk:
        """Sums of nothing yet."""
        size = len(units.batch_U)
        return cls(units, np.zeros((size, n_genes)), np.zeros((size, n_genes)), np.zeros(size))

    def add_raw(self, start: int, counts_SG: Any, library_S: F64) -> None:
        """Add the counts of the observations from number `start`."""
        sums = self._sums(start, len(library_S))
        self.raw_UG += as_dense(sums @ sp.csr_matrix(counts_SG).astype(np.float64))
        self.library_U += sums @ library_S

    def add_levelled(self, start: int, log1p_cpm_SG: Any, library_S: F64) -> None:
        """Add levelled values, weighed by libraries so that unchanged values sum to counts."""
        sums = self._sums(start, len(library_S))
        cpm_SG = np.expm1(as_dense(log1p_cpm_SG))
        self.level_UG += as_dense(sums @ sp.diags(library_S / 1e6) @ cpm_SG)

    def _sums(self, start: int, size: int) -> sp.csr_matrix:
        code = self.units.code_C[start : start + size]
        rows = np.flatnonzero(code >= 0)
        shape = (len(self.units.batch_U), size)
        return sp.csr_matrix((np.ones(len(rows)), (code[rows], rows)), shape=shape)


def log_cpm(sums_UG: F64, library_U: F64) -> F64:
    """log2 CPM with half a count or more added, in proportion to the library (edgeR's way)."""
    library = np.maximum(library_U, 1.0)[:, None]
    prior = 2.0 * library / library.mean()
    return np.asarray(np.log2((sums_UG + prior) / (library + 2 * prior) * 1e6))
