"""What the report draws: one fixed subsample before and after, scores, history, provenance."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from levelseq.validate.eligible import Comparison
from levelseq.validate.neighbours import nearest

__all__ = ["UMAP_OBSERVATIONS", "Pictures", "plane"]

# Below this a UMAP is mostly its own starting point; two principal components say more.
UMAP_OBSERVATIONS = 100

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Pictures:
    """Everything that the report draws and the verdict does not hold.

    Attributes:
        before: (observations, 2), the unintegrated embedding in the plane; at most 5,000 rows.
        after: (observations, 2), the levelled embedding; the same observations in the same order.
        projection: `UMAP`, or `PCA` where there are few observations.
        columns: `batch` and, where the study has them, `label` and `condition`: one text an
            observation. No donor, no barcode.
        scores: method (`levelseq`, `unintegrated`, `combat`) -> `total`, `bio`, `batch`.
        history: gate -> its values on earlier cohorts of the same kind, oldest first.
        methods: sentences on what was done, for a paper.
        provenance: what stands in the manifests of cohort, normalized values and model, without
            donors and barcodes.
        compared: the classical methods that a bulk cohort was eligible for; else None.
    """

    before: Array
    after: Array
    projection: str
    columns: dict[str, np.ndarray[Any, Any]]
    scores: dict[str, dict[str, float | None]]
    history: dict[str, list[float]]
    methods: list[str]
    provenance: dict[str, Any]
    compared: Comparison | None = None


def plane(x_ND: np.ndarray[Any, Any], projection: str, seed: int = 0) -> Array:
    """(observations, 2): an embedding in the plane, the same for the same seed.

    Args:
        x_ND: observations x dimensions.
        projection: `UMAP` (McInnes 2018), on exact neighbours and started from the first two
            components; or `PCA`, those components themselves.
        seed: of UMAP.
    """
    start_N2 = _components(x_ND)
    if projection == "PCA":
        return start_N2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        found = nearest(x_ND, 15, itself=True)
        known = (found.indices.astype(np.int32), found.distances.astype(np.float32))
        umap = UMAP(
            n_neighbors=15,
            n_epochs=200,
            init=10 * start_N2 / max(float(np.abs(start_N2).max()), 1e-12),
            precomputed_knn=known,
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(umap.fit_transform(x_ND), dtype=np.float32)


def _components(x_ND: np.ndarray[Any, Any]) -> Array:
    centred = np.asarray(x_ND, dtype=np.float64) - x_ND.mean(axis=0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    keep = min(2, len(s))
    sign = np.sign(vt[np.arange(keep), np.abs(vt[:keep]).argmax(axis=1)])
    out = np.zeros((len(centred), 2), dtype=np.float32)
    out[:, :keep] = u[:, :keep] * s[:keep] * np.where(sign == 0, 1, sign)
    return out
