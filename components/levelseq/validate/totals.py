"""A run's scores by name, and the champion's total that its own is compared with."""

from __future__ import annotations

from typing import Any

from levelseq.errors import BadAddress
from levelseq.registry import run_folder
from levelseq.store import join, read_json
from levelseq.validate import scib
from levelseq.validate.peers import Peers

__all__ = ["comparable", "recorded", "scores_of"]


def scores_of(peers: Peers) -> dict[str, float | str]:
    """The model's scores by their names, its peers' behind the method's name."""
    scores: dict[str, float | str] = {}
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


def recorded(workspace: str, champion: dict[str, Any] | None) -> dict[str, Any]:
    """The scores in the verdict of the run that made the champion."""
    if champion is None:
        return {}
    try:
        verdict = read_json(join(run_folder(workspace, champion["run"]), "verdict.json"))
    except BadAddress:
        return {}
    return dict(verdict["scores"])


def comparable(
    own: dict[str, float | str], champion: dict[str, Any]
) -> tuple[float | None, float | None]:
    """Two totals of the same kind by the same version of scib-metrics, or None twice."""
    if own.get("scib_metrics") == champion.get("scib_metrics"):
        for kind in ("scib_total", "label_free_total"):
            mine, other = own.get(kind), champion.get(kind)
            if isinstance(mine, float) and isinstance(other, int | float):
                return mine, float(other)
    return None, None
