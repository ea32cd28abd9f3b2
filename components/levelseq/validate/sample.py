"""A bounded sample of observations with all that is known of each: what classifiers are fitted to.

Shapes: C cells (observations), G variable genes, D latent dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAMPLE", "Sample", "codes"]

Codes = NDArray[np.int64]

# A classifier on components of this many learns what it would learn of ten times as many.
SAMPLE = 1000


@dataclass(frozen=True)
class Sample:
    """The same observations before and after levelling; names are numbers, and -1 is unknown.

    Attributes:
        input_CG: log1p CPM of the counts.
        values_CG: log1p CPM, levelled.
        level_CD: the levelled embedding.
        batch_C: leaf batch.
        site_C: node of the batch tree's top level.
        donor_C: donor; None where the study does not say.
        label_C: label; None where the study has none.
        condition_C: condition as text, empty where unknown; None where the study has none.
        levels: the batch tree's columns, from the root.
        single: each observation is a sample of its own, as in bulk.
    """

    input_CG: NDArray[np.float64]
    values_CG: NDArray[np.float64]
    level_CD: NDArray[np.float64]
    batch_C: Codes
    site_C: Codes
    donor_C: Codes | None
    label_C: Codes | None
    condition_C: NDArray[Any] | None
    levels: tuple[str, ...]
    single: bool

    @property
    def people(self) -> Codes | None:
        """Who an observation is of: its donor, or in bulk without donors the sample itself."""
        if self.donor_C is not None and len(np.unique(self.donor_C[self.donor_C >= 0])) > 1:
            return self.donor_C
        return np.arange(len(self.batch_C), dtype=np.int64) if self.single else None

    @property
    def person(self) -> str:
        """What `people` are: `donor` or `sample`."""
        return "donor" if self.people is self.donor_C else "sample"


def codes(text_C: NDArray[Any] | None) -> Codes | None:
    """Numbers of texts in sorted order, -1 for an empty one; None stays None."""
    if text_C is None:
        return None
    names = np.unique(text_C[text_C != ""])
    found = np.searchsorted(names, text_C) if len(names) else np.zeros(len(text_C))
    return np.asarray(np.where(text_C == "", -1, found), dtype=np.int64)
