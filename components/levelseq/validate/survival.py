"""What of a contrast survives levelling: its direction, its size, its signs, its variance.

All statistics are of log2 fold changes; shapes: G genes with counts enough, U units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from levelseq.validate.contrast import Contrast, Effects
from levelseq.validate.jackknife import Interval
from levelseq.validate.moderated_t import moderated_t

__all__ = ["Statistic", "correlation", "false_positives", "same_sign", "slope", "variance_removed"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Statistic = Callable[[Effects, Bool], float]

_PERMUTATIONS = 100
_LEAST_PERMUTATIONS = 20
_NOMINAL = 0.05


def correlation(effects: Effects, genes: Bool) -> float:
    """Pearson's, of the effects of some genes within batches and after levelling."""
    x, y = effects.within[genes], effects.after[genes]
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def slope(effects: Effects, genes: Bool) -> float:
    """Of the effects after levelling on those within batches, through the origin."""
    x, y = effects.within[genes], effects.after[genes]
    square: Any = (x * x).sum()
    return float((x * y).sum() / square) if square > 0 else float("nan")


def same_sign(effects: Effects, genes: Bool) -> float:
    """Share of some genes whose effect has the same sign after levelling."""
    x, y = effects.within[genes], effects.after[genes]
    return float((np.sign(x) == np.sign(y)).mean()) if len(x) else float("nan")


def variance_removed(contrast: Contrast) -> tuple[float, Interval | None]:
    """Share of the condition's variance that levelling removed, and its 95 % interval over donors.

    The condition's variance is the sum over all genes, not those alone that pass a test, of the
    squared effect less its sampling variance: what a method does to many weak effects shows here.
    Below 0 is variance added.
    """
    within_G, after_G = contrast.variances

    def removed(effects: Effects) -> float:
        before = (effects.within**2 - effects.within_factor * within_G).sum()
        after = (effects.after**2 - effects.after_factor * after_G).sum()
        return float(1 - after / before) if before > 0 else float("nan")

    return removed(contrast.effects), contrast.interval(removed)


def false_positives(contrast: Contrast, seed: int) -> tuple[float, Interval] | None:
    """Share of genes below p = .05 when the condition is dealt out anew within each batch.

    The condition's own effect is taken out of the levelled values first (Freedman & Lane 1983), so
    that what is found is found where nothing is. Dealing within batches keeps how unevenly the
    levels lie over them: a difference between batches that levelling has left is then found again
    and again, and the share exceeds the nominal .05.

    Returns:
        The mean and the range of 95 % of the permutations; None where fewer than 20 differ.
    """
    level_U = contrast.across_UP[:, 0]
    # The units of other levels than these two keep theirs.
    two = (contrast.across_UP[:, 1:-1] == 0).all(axis=1)
    null_UG = contrast.levelled_UG - np.outer(level_U, contrast.levelled_within)
    random = np.random.default_rng([seed, 17])
    found: dict[bytes, float] = {}
    for _ in range(_PERMUTATIONS):
        design = contrast.across_UP.copy()
        for batch in np.unique(contrast.batch_U):
            rows = np.flatnonzero(two & (contrast.batch_U == batch))
            design[rows, 0] = random.permutation(level_U[rows])
        key = design[:, 0].tobytes()
        if key not in found:
            p = moderated_t(null_UG, design, 0).p_values()
            found[key] = float((p < _NOMINAL).mean())
    if len(found) < _LEAST_PERMUTATIONS:
        return None
    shares = np.array(list(found.values()))
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(shares.mean()), (float(low), float(high))
