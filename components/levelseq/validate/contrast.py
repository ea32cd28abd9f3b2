"""One level of the condition against another: within batches on counts, across them levelled.

Shapes: U units (pseudobulk samples), G genes with counts enough, P coefficients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.jackknife import Interval, jackknife, left_out
from levelseq.validate.moderated_t import Estimate, adjusted, moderated_t
from levelseq.validate.pseudobulk import Pseudobulk, Units, log_cpm

__all__ = ["Contrast", "Effects", "contrast_of"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

DISCOVERY = 0.05
LEAST_GENES = 10
_LEAST_COUNTS = 3.0


class Effects(NamedTuple):
    """Log2 fold changes (G,) within batches on counts and across batches levelled.

    `within_factor` and `after_factor` times a gene's residual variance is the variance of each.
    """

    within: F64
    after: F64
    within_factor: float
    after_factor: float


@dataclass(frozen=True)
class Contrast:
    """A level against the base, on the genes with counts enough.

    Attributes:
        expressed: which of all genes these are.
        raw_UG, levelled_UG: log2 CPM.
        within_UP, across_UP: designs; the contrast is the first column of both.
        batch_U, donor_U: of the units.
        within, after: moderated estimates.
        carrying: genes that differ within batches (5 % false discovery rate).
    """

    expressed: Bool
    raw_UG: F64
    levelled_UG: F64
    within_UP: F64
    across_UP: F64
    batch_U: NDArray[np.str_]
    donor_U: NDArray[np.int64]
    within: Estimate
    after: Estimate
    carrying: Bool

    @cached_property
    def effects(self) -> Effects:
        """Of all units."""
        return self._effects(np.ones(len(self.raw_UG), dtype=np.bool_))

    @cached_property
    def replicates(self) -> list[Effects]:
        """With each donor left out in turn; empty where one of them carries the contrast alone."""
        kept = left_out(self.donor_U)
        if not all(self._estimable(rows) for rows in kept):
            return []
        return [self._effects(rows) for rows in kept]

    def interval(self, statistic: Callable[[Effects], float]) -> Interval | None:
        """The 95 % interval over donors of a statistic of the effects."""
        return jackknife(statistic(self.effects), [statistic(each) for each in self.replicates])

    @property
    def levelled_within(self) -> F64:
        """Log2 fold changes (G,) of the levelled values within batches."""
        return _first(self.within_UP, self.levelled_UG)[0]

    @cached_property
    def variances(self) -> tuple[F64, F64]:
        """Residual variances (G,) within batches, of the counts and of the levelled values.

        Across batches they would hold what is left of the batches too, which in a balanced design
        is no part of an effect's error.
        """
        factor = self.effects.within_factor
        levelled = moderated_t(self.levelled_UG, self.within_UP, 0)
        return self.within.error**2 / factor, levelled.error**2 / factor

    @property
    def inflation(self) -> float:
        """How many times batch inflates the variance of the within-batch estimate."""
        return self.effects.within_factor / self.effects.after_factor

    @property
    def alone(self) -> bool:
        """Whether one unit alone tells the contrast from the batches.

        What a regression loses with a unit is its residual's square over one less its leverage.
        """
        own_U = _beside(self.within_UP)
        others = self.within_UP[:, 1:]
        leverage_U = np.einsum("up,pu->u", others, np.linalg.pinv(others))
        left_U = own_U @ own_U - own_U**2 / np.maximum(1 - leverage_U, 1e-9)
        return bool((left_U < 1e-6 * (own_U @ own_U)).any())

    def _estimable(self, rows: Bool) -> bool:
        rank = np.linalg.matrix_rank
        within = self.within_UP[rows]
        return bool(rank(within) > rank(within[:, 1:]) and np.ptp(self.across_UP[rows, 0]) > 0)

    def _effects(self, rows: Bool) -> Effects:
        within, within_factor = _first(self.within_UP[rows], self.raw_UG[rows])
        after, after_factor = _first(self.across_UP[rows], self.levelled_UG[rows])
        return Effects(within, after, within_factor, after_factor)


def contrast_of(sums: Pseudobulk, level: str, base: str) -> Contrast | str:
    """The contrast, or why it cannot be estimated; an empty text where batches confound it."""
    within_UP, across_UP = _designs(sums.units, level, base)
    if np.linalg.matrix_rank(within_UP) == np.linalg.matrix_rank(within_UP[:, 1:]):
        return ""
    within_UP = _full_rank(within_UP)
    if len(within_UP) <= within_UP.shape[1]:
        return f"Too few samples to estimate {level!r} against {base!r} within batches."
    expressed = np.asarray(sums.raw_UG.mean(axis=0) >= _LEAST_COUNTS)
    if expressed.sum() < LEAST_GENES:
        return "Too few genes have counts enough to be compared."
    raw = log_cpm(sums.raw_UG[:, expressed], sums.library_U)
    levelled = log_cpm(sums.level_UG[:, expressed], sums.library_U)
    within = moderated_t(raw, within_UP, 0)
    return Contrast(
        expressed,
        raw,
        levelled,
        within_UP,
        across_UP,
        sums.units.batch_U,
        sums.units.donor_U,
        within,
        moderated_t(levelled, across_UP, 0),
        np.asarray(adjusted(within.p_values()) < DISCOVERY),
    )


def _designs(units: Units, level: str, base: str) -> tuple[F64, F64]:
    """Columns: this level, the other levels but the base, then leaf batches; or one intercept."""
    others = [c for c in np.unique(units.condition_U) if c not in (level, base)]
    conditions = np.stack([units.condition_U == c for c in (level, *others)], axis=1)
    batches = np.stack([units.batch_U == b for b in np.unique(units.batch_U)], axis=1)
    ones = np.ones((len(conditions), 1))
    within = np.hstack([conditions, batches]).astype(np.float64)
    return within, np.hstack([conditions, ones]).astype(np.float64)


def _full_rank(design: F64) -> F64:
    """The first column and those of the others that add something."""
    keep = [0]
    for column in range(design.shape[1] - 1, 0, -1):
        if np.linalg.matrix_rank(design[:, [*keep, column]]) == len(keep) + 1:
            keep.append(column)
    return design[:, keep]


def _first(design_UP: F64, y_UG: F64) -> tuple[F64, float]:
    """The first coefficient (G,) by least squares, and its variance in units of the residual's."""
    own_U = _beside(design_UP)
    square = float(own_U @ own_U)
    return own_U @ y_UG / square, 1 / square


def _beside(design_UP: F64) -> F64:
    """What the first column says beside the others (Frisch & Waugh 1933), of whatever rank."""
    first, others = design_UP[:, 0], design_UP[:, 1:]
    return np.asarray(first - others @ np.linalg.lstsq(others, first, rcond=None)[0])
