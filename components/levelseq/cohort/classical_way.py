"""Which cohorts are levelled the classical way: bulk samples, and few observations."""

from __future__ import annotations

import numpy as np

from levelseq.cohort.cohort import Cohort

__all__ = ["why_classical"]

_FEWEST_FOR_VAE = 200
_BULK_LIBRARY = 1_000_000
_BULK_DETECTED = 0.5


def why_classical(cohort: Cohort) -> str:
    """Why a cohort is one for the classical methods; empty for one of many single cells.

    Bulk samples are told by their median library and by the share of genes that they detect.
    """
    n = cohort.manifest["n_obs"]
    if n < _FEWEST_FOR_VAE:
        return f"{n} observations, fewer than {_FEWEST_FOR_VAE}"
    obs = cohort.obs()
    library = float(np.median(obs["n_counts"]))
    detected = float(np.median(obs["n_genes"])) / cohort.manifest["n_vars"]
    if library < _BULK_LIBRARY or detected < _BULK_DETECTED:
        return ""
    return (
        f"bulk samples, with a median library of {library:,.0f} counts "
        f"and {detected:.0%} of the genes detected"
    )
