"""Genes, libraries and types, from one donor's pancreas: three libraries almost without effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from numpy.typing import NDArray

from levelseq.simulate.estimate.moments import (
    dispersion_scatter,
    dispersion_trend,
    group_sd,
    moments,
    moments_by_mean,
    robust_sd,
)

__all__ = ["from_pancreas"]

Floats = NDArray[np.float64]

_DETECTED = 0.05
_CELLS = 50
_FLOOR = 0.02


def from_pancreas(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries of the table that come from `pancreas_baron_h1.h5ad`."""
    data = ad.read_h5ad(folder / "pancreas_baron_h1.h5ad")
    totals_S = np.asarray(data.X.sum(axis=1), dtype=np.float64).ravel()
    detected = np.asarray((data.X > 0).mean(axis=0)).ravel() >= _DETECTED
    x_SG = data.X[:, np.flatnonzero(detected)].toarray().astype(np.float64)
    counts = data.obs["cell_type"].value_counts()
    common = counts[counts >= _CELLS]
    of = {t: np.flatnonzero(data.obs["cell_type"] == t) for t in common.index}
    groups = data.obs.groupby(["cell_type", "batch"], observed=True).indices
    pairs = [np.asarray(some) for some in groups.values() if len(some) >= 20]
    largest = of[common.index[0]]
    return {
        "library_sd": {
            "value": group_sd(np.log(totals_S), pairs),
            "how": "sd of the log library inside a type of a library (20 cells or more), pooled",
        },
        "type_share_sd": {
            "value": float(np.log(common.to_numpy(dtype=np.float64)).std(ddof=1)),
            "how": f"sd of the log shares of the types of {_CELLS} cells or more",
        },
        **_dispersion(x_SG[largest], totals_S[largest]),
        **_types(x_SG, totals_S, list(of.values())),
    }


def _dispersion(x_SG: Floats, totals_S: Floats) -> dict[str, dict[str, Any]]:
    own = moments(x_SG, totals_S)
    rows = moments_by_mean(own)
    trend = dispersion_trend(rows)
    return {
        "dispersion_trend": {
            "value": list(trend),
            "how": "moment dispersions of the largest type; floor, slope and power of floor + "
            "slope x mean^-power through the medians of genes of like mean",
        },
        "dispersion_scatter": {
            "value": dispersion_scatter(own, totals_S, trend),
            "how": "robust sd of log dispersion over trend, less that of genes on the trend",
        },
        "moments": {
            "value": rows,
            "how": "medians over genes of like mean in the largest type, for the test of the "
            "simulator: squared CV of counts scaled to the median library, share of zeros",
        },
    }


def _types(
    x_SG: Floats, totals_S: Floats, groups: list[NDArray[np.int64]]
) -> dict[str, dict[str, Any]]:
    median = float(np.median(totals_S))
    each = [moments(x_SG[g], totals_S[g]) for g in groups]
    mean_TG = np.array([m.mean_G * median / np.median(totals_S[g]) for m, g in zip(each, groups)])
    base_G = mean_TG.mean(axis=0)
    clear = base_G >= 0.5
    log_TG = np.log(np.maximum(mean_TG[:, clear], _FLOOR))
    log_TG -= np.median(log_TG, axis=0)
    error = np.nanmedian(np.array([m.error_G for m in each])[:, clear])
    core = float(np.sqrt(robust_sd(log_TG.ravel()) ** 2 - error))
    markers = log_TG[log_TG > 3 * core]
    probabilities = [0, 0.01, 0.05, *np.linspace(0.1, 0.9, 9), 0.95, 0.98, 0.99, 0.995, 0.999]
    over = "log mean of a type over the median type, genes of mean 0.5 or more"
    return {
        "baseline": {
            "probabilities": [round(p, 3) for p in probabilities],
            "values": np.quantile(base_G, probabilities).tolist(),
            "how": "counts a cell of the median library, mean over types, "
            f"of genes detected in {_DETECTED:.0%} of cells",
        },
        "type_sd": {"value": core, "how": f"robust sd of the {over}, less its error"},
        "marker_share": {
            "value": float((log_TG > 3 * core).mean()),
            "how": f"share of genes and types where the {over} is above 3 type_sd",
        },
        "marker_mean": {"value": float(markers.mean()), "how": "mean of those logs"},
        "marker_sd": {"value": float(markers.std()), "how": "sd of those logs"},
        "marker_max": {
            "value": float(np.quantile(markers, 0.95)),
            "how": "95 % quantile of those logs",
        },
    }
