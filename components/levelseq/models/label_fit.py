"""Giving a trained model its anchors' labels, and measuring what they are worth.

Labels take no part in training unless asked (`--use-labels`): what is measured here is then of
labels that training has seen, and higher than for new ones.

Shapes: A anchors, D dimensions of the levelled embedding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from levelseq.cohort import UNKNOWN, Cohort
from levelseq.models.anchors import Anchors
from levelseq.models.calibration import Calibration, auroc, expected_calibration_error
from levelseq.models.label_transfer import LabelTransfer, evidence_of, label_codes, vote
from levelseq.models.saving import Model

__all__ = ["with_labels"]

FEWEST_ANCHORS = 50
FEWEST_TO_RANK = 20


def with_labels(model: Model, cohort: Cohort, seed: int) -> tuple[Model, dict[str, Any]]:
    """The model with the labels of its anchors, and what `metrics.json` says of them.

    One leaf after the other is left out: its anchors, embedded as if their leaf were unseen, are
    given labels by the anchors of the others. The calibration is fitted to all of these votes;
    what is measured of a leaf is by a calibration that was fitted to the others only.

    Args:
        model: as trained.
        cohort: which it was trained on.
        seed: of the training, which chose the anchors.

    Returns:
        The model as it is and nothing, where the cohort has no labels.
    """
    obs, role = cohort.obs(), cohort.role("label")
    if role is None or role not in obs.columns:
        return model, {}
    chosen = Anchors.choose(len(obs), seed)
    names, code = label_codes(obs[role].astype(str).to_numpy(dtype=str)[chosen], UNKNOWN)
    if len(names) == 0:
        return model, {}
    unseen = model.embedding(cohort, obs, chosen, unseen=True)
    evidence, right, leaf = _left_out(model.anchors, code, len(names), unseen)
    facts: dict[str, Any] = {"names": len(names), "anchors": int((code >= 0).sum())}
    if len(np.unique(leaf)) < 2 or len(right) < FEWEST_ANCHORS:
        labels = LabelTransfer(names, code, None)
        reason = (
            "labels without a confidence: it takes two batches with labels and "
            f"{FEWEST_ANCHORS} labelled observations"
        )
        return replace(model, labels=labels), {**facts, "reason": reason}
    labels = LabelTransfer(names, code, Calibration.fit(evidence, right))
    return replace(model, labels=labels), {**facts, **_measured(evidence, right, leaf)}


def _left_out(anchors: Anchors, code: Any, n_labels: int, unseen: Any) -> tuple[Any, Any, Any]:
    """Evidence, whether right, and leaf, of each anchor that others could vote on."""
    evidence, right, leaves = [np.zeros((0, 2))], [np.zeros(0, dtype=bool)], [anchors.leaf[:0]]
    for leaf in np.unique(anchors.leaf):
        own = (anchors.leaf == leaf) & (code >= 0)
        others = (anchors.leaf != leaf) & (code >= 0)
        if not own.any() or not others.any():
            continue
        share_SK, distance = vote(anchors.embedding[others], code[others], n_labels, unseen[own])
        evidence.append(evidence_of(share_SK, distance, anchors))
        right.append(share_SK.argmax(axis=1) == code[own])
        leaves.append(anchors.leaf[own])
    return np.concatenate(evidence), np.concatenate(right), np.concatenate(leaves)


def _measured(evidence: Any, right: Any, leaf: Any) -> dict[str, Any]:
    """Accuracy, calibration error and AUROC, each leaf by the calibration of the others."""
    confidence = np.zeros(len(right))
    for number in np.unique(leaf):
        own = leaf == number
        nested = Calibration.fit(evidence[~own], right[~own])
        confidence[own] = nested.probability(evidence[own])
    wrong = int((~right).sum())
    enough = min(wrong, len(right) - wrong) >= FEWEST_TO_RANK
    return {
        "accuracy": round(float(right.mean()), 4),
        "wrong": wrong,
        "expected_calibration_error": round(expected_calibration_error(confidence, right), 4),
        "auroc": round(auroc(confidence, right), 4) if enough else None,
    }
