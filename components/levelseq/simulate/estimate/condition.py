"""Donors and a condition, from two donors' cells with and without interferon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from numpy.typing import NDArray

from levelseq.simulate.estimate.contrasts import Group, contrast, group

__all__ = ["from_stimulation"]

_MIN_COUNTS = 20


def from_stimulation(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of the table that come from `kang_muscat.h5ad`."""
    data = ad.read_h5ad(folder / "kang_muscat.h5ad")
    donors = sorted(data.obs["donor"].unique())
    variances: list[float] = []
    changes: list[NDArray[np.float64]] = []
    for cell_type in sorted(data.obs["cell_type"].unique()):
        of = {
            (donor, condition): _group(data, cell_type, donor, condition)
            for donor in donors
            for condition in ("ctrl", "stim")
        }
        pairs = [(of[donors[0], c], of[donors[1], c]) for c in ("ctrl", "stim")]
        variances.append(contrast(pairs, _MIN_COUNTS).shared / 2)
        change = contrast([(of[d, "stim"], of[d, "ctrl"]) for d in donors], _MIN_COUNTS).shared_G
        changes.append(change[np.isfinite(change)] / np.log(2))
    size = np.abs(np.concatenate(changes))
    probabilities = [0.5, 0.75, 0.9, 0.95, 0.99]
    return {
        "donor_sd": {
            "value": float(np.sqrt(max(0.0, float(np.mean(variances))))),
            "how": "covariance over the two conditions of the log difference of two donors; root "
            "of half its mean over types",
        },
        "condition_lfc": {
            "probabilities": probabilities,
            "values": np.quantile(size, probabilities).tolist(),
            "how": "size of the log2 change under interferon, genes clear in all groups; for "
            "comparison with --condition-lfc, not drawn from",
        },
    }


def _group(data: ad.AnnData, cell_type: str, donor: str, condition: str) -> Group:
    obs = data.obs
    mask = (obs["cell_type"] == cell_type) & (obs["donor"] == donor)
    return group(data.X[np.flatnonzero(mask & (obs["condition"] == condition))].toarray())
