"""What a fit of ComBat-seq keeps, and what it can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from levelseq.errors import BadOption
from levelseq.normalize.combat_seq_design import Coding

__all__ = ["Options", "State"]

F64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class State:
    """What a fit froze: B batches, G genes, K columns of the design, C of its rows.

    A gene that is not adjusted has zeros, and dispersions of one.

    Attributes:
        batches: names, in the order of the rows of the arrays.
        groups: levels whose difference is kept; empty: none.
        n_covariates: further columns that are kept.
        adjusted_G: genes with counts in every batch; the others are left as they are, and count
            in no library.
        rows_CK: the rows of a one-way design; none for any other.
        log_mean_CG: log mean of each of these, beside the base, per count of library.
        coefficient_KG: the same by the design's columns.
        base_G: mean log mean of the batches, by their sizes.
        gamma_BG: how far each batch is from it; shrunk if so fitted.
        dispersion_BG: of the batches.
        dispersion_G: that all are brought to.
    """

    batches: tuple[str, ...]
    groups: tuple[str, ...]
    n_covariates: int
    adjusted_G: Bool
    rows_CK: F64
    log_mean_CG: F64
    coefficient_KG: F64
    base_G: F64
    gamma_BG: F64
    dispersion_BG: F64
    dispersion_G: F64

    @property
    def coding(self) -> Coding:
        """What the columns of the design mean."""
        return Coding(self.batches, self.groups, self.n_covariates)

    def notices(self) -> list[str]:
        """What a user should know of the fit, a line each."""
        left = int((~self.adjusted_G).sum())
        if not left:
            return []
        return [
            f"{left} of {len(self.adjusted_G)} genes have no counts in some batch "
            "and are left as they are"
        ]


@dataclass(frozen=True)
class Options:
    """How to fit.

    Attributes:
        full_model: keep what differs between groups.
        shrink: shrink what a batch adds to a gene towards what it adds to genes like it.
        shrink_dispersion: shrink dispersions too.
        shrink_genes: other genes that each is compared with to shrink; 0: all.
        seed: of their draw, as in R.
    """

    full_model: bool = True
    shrink: bool = False
    shrink_dispersion: bool = False
    shrink_genes: int = 0
    seed: int = 1

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            BadOption: an option that would not be read, or no genes to compare with.
        """
        for name in ("shrink_dispersion", "shrink_genes"):
            if getattr(self, name) and not self.shrink:
                where = f"--{name.replace('_', '-')}"
                raise BadOption("is read with shrink alone", where=where, do="set shrink")
        if self.shrink_genes < 0:
            raise BadOption(f"is {self.shrink_genes}, not 0 or more", where="--shrink-genes")
