"""Was there a batch effect to correct? Said in the verdict, whatever became of the values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from levelseq.validate.gates import significant
from levelseq.validate.mixing import NEGLIGIBLE, BatchVariance

__all__ = ["Correction", "nothing_to_correct"]

# Of what random mixing gives: real sets whose batches hardly differ reach .9 to 1 of it, those with
# a batch effect .04 to .3.
MIXED = 0.85


class Correction(NamedTuple):
    """What there was to correct before levelling.

    Attributes:
        needed: False where batch explains less than one hundredth of the variance beyond chance
            and neighbourhoods mix batches nearly as chance would.
        variance: share between batches, within labels where there are some.
        mixing: iLISI as a share of random mixing; None where it cannot be measured.
    """

    needed: bool
    variance: BatchVariance
    mixing: float | None

    @property
    def reason(self) -> str:
        """A sentence for the verdict; empty where there was something to correct."""
        if self.needed:
            return ""
        mixed = (
            f", and neighbourhoods mix batches to {self.mixing:.0%} of random mixing"
            if self.mixing is not None
            else ""
        )
        return (
            f"Nothing to correct: without levelling batch explains {self.variance.share:.1%} of the"
            f" variance, where chance gives {self.variance.chance:.1%}{mixed}. Values without a"
            " model serve as well."
        )

    def as_json(self) -> dict[str, Any]:
        """For the verdict, numbers to six significant digits."""
        return {
            "needed": self.needed,
            "batch_variance": significant(self.variance.share),
            "by_chance": significant(self.variance.chance),
            "mixing": significant(self.mixing),
        }


def nothing_to_correct(
    variance: BatchVariance, ilisi: float | None, allowed: float | None
) -> Correction:
    """What the unintegrated embedding shows of the batches.

    Args:
        variance: share of its variance between batches.
        ilisi: its scaled iLISI.
        allowed: the same with batches dealt out anew (within labels).
    """
    if not np.isfinite(variance.share):
        return Correction(True, variance, None)
    mixing = ilisi / allowed if ilisi is not None and allowed else None
    small = variance.share - variance.chance < NEGLIGIBLE
    return Correction(not (small and (mixing is None or mixing >= MIXED)), variance, mixing)
