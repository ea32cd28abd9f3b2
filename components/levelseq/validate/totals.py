"""A run's scores by name, and the champion's total that its own is compared with."""

from __future__ import annotations

from typing import Any

from levelseq.validate import scib
from levelseq.validate.peers import CHAMPION, Peers
from levelseq.verdict import LABELS_SEEN_BY, kinds_of_total

__all__ = ["saw_labels", "scores_of", "totals_of"]


def saw_labels(model: dict[str, Any], cohort: str) -> bool:
    """Whether a model, by its manifest, was trained with the labels of a cohort.

    To the cohort of one with a parent it was adapted, which takes no labels, or trained anew.
    """
    learned_from = model.get("trained_on") or ([] if model.get("parent") else [model["cohort"]])
    return bool(model["params"].get("use_labels")) and cohort in learned_from


def scores_of(peers: Peers, labels_seen_by: str = "") -> dict[str, float | str]:
    """The model's scores by their names, its peers' behind the method's name.

    Args:
        peers: measured.
        labels_seen_by: the model, the champion, or both, as they were trained with the labels.
    """
    scores: dict[str, float | str] = {LABELS_SEEN_BY: labels_seen_by} if labels_seen_by else {}
    for i, (method, found) in enumerate(peers.by_method.items()):
        prefix = f"{method}_" if i else ""
        if found.scib is not None:
            scores[f"{prefix}scib_total"] = found.scib.total
            scores[f"{prefix}scib_bio"] = found.scib.bio
            scores[f"{prefix}scib_batch"] = found.scib.batch
        if found.label_free is not None:
            scores[f"{prefix}label_free_batch"], scores[f"{prefix}label_free_total"] = (
                found.label_free
            )
    if peers.own.ilisi is not None:
        scores["scib_metrics"] = scib.version()
    return scores


def totals_of(scores: dict[str, float | str]) -> tuple[float | None, float | None]:
    """The model's total and the champion's on the same observations, or None twice."""
    for kind in kinds_of_total(scores):
        own, champion = scores.get(kind), scores.get(f"{CHAMPION}_{kind}")
        if isinstance(own, float) and isinstance(champion, float):
            return own, champion
    return None, None
