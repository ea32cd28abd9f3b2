"""The measures of drift: what each compares, and how one batch's cells are measured.

Shapes: C cells of one batch, A reference cells, Z dimensions of the levelled embedding, Q columns
of library quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from levelseq.validate.c2st import separability
from levelseq.validate.composition import kind_ranks
from levelseq.validate.drift import Prototypes, latent_shift
from levelseq.validate.drift_history import Scale
from levelseq.validate.ks import ks_shift, signed_ks
from levelseq.validate.mmd import mmd
from levelseq.validate.psi import psi

__all__ = [
    "EMBEDDING",
    "GATES",
    "MEASURES",
    "QUALITY",
    "QUALITY_CELLS",
    "Measure",
    "Reference",
    "embedding_measures",
    "quality_measures",
]

QUALITY_CELLS = 50


class Measure(NamedTuple):
    """One measure of a batch.

    Attributes:
        gate: the gate that it decides in, or None: reported beside the gates.
        scale: how its values lie over batches.
        least: a size that is too small to matter, whatever the history.
        unit: in words.
    """

    gate: str | None
    scale: Scale
    least: float
    unit: str


# A quarter of a standard deviation of a kind, and a tenth of a log, move no conclusion.
MEASURES = {
    "latent": Measure("drift.latent", "distance", 0.25, "sd of a cell kind"),
    "expression": Measure("drift.expression", "distance", 0.1, "sd of log ratios over genes"),
    "genes": Measure("drift.genes", "extreme", 0.0, "sd of a gene, the 2 % that lie off most"),
    "n_counts": Measure("drift.qc", "skewed", 0.25, "KS distance as a shift in sd of a cell kind"),
    "n_genes": Measure("drift.qc", "skewed", 0.25, "KS distance as a shift in sd of a cell kind"),
    "pct_mito": Measure("drift.qc", "skewed", 0.25, "KS distance as a shift in sd of a cell kind"),
    "mmd": Measure(None, "distance", 0.0, "root of the squared MMD"),
    "c2st": Measure(None, "distance", 0.0, "d' of a classifier; 1 is an AUC of .76"),
    "psi": Measure(None, "squared", 0.0, "PSI of the library quality that moved most"),
}
GATES = tuple(dict.fromkeys(m.gate for m in MEASURES.values() if m.gate is not None))
QUALITY = tuple(name for name, measure in MEASURES.items() if measure.gate == "drift.qc")
EMBEDDING = ("latent", "mmd", "c2st")


@dataclass(frozen=True)
class Reference:
    """Cells that batches are compared with.

    Attributes:
        kinds: found among the cells; `member` is each cell's kind.
        places: (A, Z) in the levelled embedding.
        quality: (A, Q) the columns of `QUALITY`, NaN where a cohort has none.
    """

    kinds: Prototypes
    places: Any
    quality: Any

    @classmethod
    def of(cls, places: Any, noise: Any, quality: Any) -> Reference:
        """With the kinds of some cells; `noise` as `Prototypes.of` takes it."""
        return cls(Prototypes.of(places, noise), places, quality)


def embedding_measures(places: Any, reference: Reference, seed: int = 0) -> dict[str, float]:
    """The batch's `latent`, `mmd` and `c2st`, each within kinds.

    Args:
        places: (C, Z) of the batch's cells in the levelled embedding.
        reference: what they are compared with.
        seed: of the cells that are drawn where there are many.
    """
    kinds = reference.kinds
    kind_C = kinds.nearest(places)
    own = (places - kinds.centre[kind_C]) / kinds.sd
    other = (reference.places - kinds.centre[kinds.member]) / kinds.sd
    return {
        "latent": latent_shift(places, kinds),
        "mmd": mmd(own, kind_C, other, kinds.member, seed),
        "c2st": separability(own, kind_C, other, kinds.member, seed),
    }


def quality_measures(places: Any, quality: Any, reference: Reference) -> dict[str, float]:
    """The batch's shift of each column of library quality, and its `psi`.

    A cell counts by its rank among reference cells of its own kind, since kinds differ in their
    libraries. The share of zero counts ranks cells as `n_genes` does and is not measured twice.

    Args:
        places: (C, Z) of the batch's cells.
        quality: (C, Q) the columns of `QUALITY`, NaN where there is none.
        reference: what they are compared with.

    Returns:
        NaN for a column that either side lacks, and for fewer than 50 cells of known kinds, whose
        sampling is as wide as runs are apart.
    """
    kind_C, kind_A = reference.kinds.nearest(places), reference.kinds.member
    found, indices = dict.fromkeys([*QUALITY, "psi"], float("nan")), []
    for name, own, other in zip(QUALITY, quality.T, reference.quality.T):
        known, told = np.isfinite(own), np.isfinite(other)
        rank_N = kind_ranks(own[known], kind_C[known], other[told], kind_A[told])
        if len(rank_N) >= QUALITY_CELLS:
            found[name] = ks_shift(signed_ks(rank_N), len(rank_N))
            indices.append(psi(rank_N))
    return found | ({"psi": max(indices)} if indices else {})
