"""What later batches are compared with and the model itself does not hold: `drift.safetensors`.

Shapes: S observations, A anchors, L leaves, Q columns of library quality, G variable genes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load, save

from levelseq.models.saving import MODEL, Model
from levelseq.store import Store, open_store
from levelseq.validate.drift_measures import QUALITY, Reference, quality_measures

__all__ = ["FILE", "DriftReference", "quality_of"]

FILE = "drift.safetensors"


@dataclass(frozen=True)
class DriftReference:
    """Library quality of the anchors and of the known leaves, and the scale of the genes.

    Attributes:
        quality_AQ: of the anchors.
        known_LQ: how far each leaf of the model's tree lay from the anchors when it was fitted:
            what a model was fitted to is not drift. NaN where that could not be measured.
        scale_G: of each gene between batches; empty where the model expects no genes.
    """

    quality_AQ: Any
    known_LQ: Any
    scale_G: Any

    @classmethod
    def read(cls, model: str) -> DriftReference | None:
        """The file in a model's folder; None for a model of a version that wrote none."""
        found = open_store(model.removesuffix(f"/{MODEL}")).get_versioned(FILE)
        if found is None:
            return None
        tensors = load(found.content)
        quality, known = (
            np.stack([tensors[f"{kind}.{name}"] for name in QUALITY], axis=1)
            for kind in ("anchors", "leaves")
        )
        return cls(quality, known, tensors["gene_scale"])

    def write(self, store: Store) -> None:
        """Put the file into a model's folder."""
        tensors = {"gene_scale": self.scale_G}
        for i, name in enumerate(QUALITY):
            tensors[f"anchors.{name}"] = self.quality_AQ[:, i]
            tensors[f"leaves.{name}"] = self.known_LQ[:, i]
        store.put(FILE, save({k: np.ascontiguousarray(v) for k, v in tensors.items()}))

    def cells(self, model: Model) -> Reference:
        """The anchors with their quality."""
        return Reference.of(model.anchors.embedding, model.anchors.noise, self.quality_AQ)

    def known(self, leaf: int) -> dict[str, float]:
        """Column -> shift that a leaf had when the model was fitted to it; 0 for a new leaf."""
        if leaf >= len(self.known_LQ):
            return dict.fromkeys(QUALITY, 0.0)
        return dict(zip(QUALITY, np.nan_to_num(self.known_LQ[leaf]).tolist()))

    def knowing(self, model: Model, obs: pd.DataFrame, places: Any) -> DriftReference:
        """With the leaves of some observations as they are now.

        Args:
            model: whose tree has them.
            obs: the observations.
            places: (S, Z) where they lie in the embedding.
        """
        known = np.full((len(model.tree.leaves), len(QUALITY)), np.nan)
        known[: len(self.known_LQ)] = self.known_LQ
        reference, quality_SQ = self.cells(model), quality_of(obs)
        codes = model.tree.leaf_codes(obs)
        for leaf in np.unique(codes[codes >= 0]):
            rows = codes == leaf
            found = quality_measures(places[rows], quality_SQ[rows], reference)
            known[leaf] = [found[name] for name in QUALITY]
        return replace(self, known_LQ=known)


def quality_of(obs: pd.DataFrame) -> Any:
    """(S, Q): the columns of library quality, NaN for one that a cohort lacks."""
    missing = np.full(len(obs), np.nan)
    columns = [obs[name].to_numpy(np.float64) if name in obs else missing for name in QUALITY]
    return np.stack(columns, axis=1)
