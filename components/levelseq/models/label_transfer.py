"""Labels carried from a model's anchors to later cells, each with the probability that it is right.

Shapes: A anchors, S observations, D dimensions of the levelled embedding, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from levelseq.models.anchors import NEIGHBOURS, Anchors
from levelseq.models.calibration import Calibration

__all__ = ["LabelTransfer", "Transferred", "evidence_of", "label_codes", "vote"]

PRIOR_SHARE = 0.02


@dataclass(frozen=True)
class Transferred:
    """What the anchors say of S observations.

    Attributes:
        label: (S,) the label with most votes.
        confidence: (S,) float32, the probability that it is right; None where it could not be
            calibrated.
    """

    label: Any
    confidence: Any


@dataclass(frozen=True)
class LabelTransfer:
    """The anchors' labels, and what a vote among them is worth.

    Attributes:
        names: (K,) the labels, sorted.
        code: (A,) number of each anchor's label; -1 where it is unknown.
        calibration: from votes to probabilities; None where there was too little to fit it to.
    """

    names: tuple[str, ...]
    code: Any
    calibration: Calibration | None

    def apply(self, embedding: Any, anchors: Anchors) -> Transferred:
        """Labels of observations at some places (S, D) of the levelled embedding.

        As Symphony (Kang et al. 2021) and scArches (Lotfollahi et al. 2022) do, by the nearest
        neighbours in the reference, here weighted by their distance.
        """
        known = self.code >= 0
        share_SK, distance = vote(
            anchors.embedding[known], self.code[known], len(self.names), embedding
        )
        label = np.array(self.names)[share_SK.argmax(axis=1)]
        if self.calibration is None:
            return Transferred(label, None)
        evidence = evidence_of(share_SK, distance, anchors)
        return Transferred(label, self.calibration.probability(evidence).astype(np.float32))

    def to_config(self) -> dict[str, Any]:
        """Names and coefficients, for `config.json`; the codes go with the tensors."""
        fitted = self.calibration
        return {
            "names": list(self.names),
            "calibration": None if fitted is None else fitted.to_json(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], code: Any) -> LabelTransfer:
        """What `to_config` described."""
        fitted = config["calibration"]
        calibration = None if fitted is None else Calibration.from_json(fitted)
        return cls(tuple(config["names"]), code, calibration)


def vote(anchors: Any, code: Any, n_labels: int, embedding: Any) -> tuple[Any, Any]:
    """Shares (S, K) of the votes of the 15 nearest anchors, and the distance (S,) of the last.

    A vote weighs exp(-(d / d15)^2), so that the scale of the embedding does not matter.

    Args:
        anchors: (A, D) places of the anchors that vote.
        code: (A,) number of each one's label.
        n_labels: how many labels there are.
        embedding: (S, D) places of the observations.
    """
    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(anchors))).fit(anchors)
    distance, neighbour = nearest.kneighbors(embedding)
    weight = np.exp(-((distance / np.maximum(distance[:, -1:], 1e-12)) ** 2))
    share_SK = np.zeros((len(embedding), n_labels))
    rows = np.arange(len(embedding))
    for column in range(distance.shape[1]):
        share_SK[rows, code[neighbour[:, column]]] += weight[:, column]
    return share_SK / share_SK.sum(axis=1, keepdims=True), distance[:, -1]


def evidence_of(share_SK: Any, distance: Any, anchors: Anchors) -> Any:
    """(S, 2): logit of the winning share, log of the distance relative to the anchors' own."""
    share = share_SK.max(axis=1)
    typical = max(float(np.median(anchors.distance)), 1e-12)
    return np.stack(
        [
            np.log((share + PRIOR_SHARE) / (1 - share + PRIOR_SHARE)),
            np.log(np.maximum(distance, 1e-12) / typical),
        ],
        axis=1,
    )


def label_codes(labels: Sequence[str], unknown: Sequence[str]) -> tuple[tuple[str, ...], Any]:
    """Sorted names, and each label's number among them, -1 for an unknown one."""
    text = np.asarray(labels, dtype=str)
    known = ~np.isin(text, unknown)
    names, code = np.unique(text[known], return_inverse=True)
    out = np.full(len(text), -1, dtype=np.int64)
    out[known] = code
    return tuple(str(name) for name in names), out
