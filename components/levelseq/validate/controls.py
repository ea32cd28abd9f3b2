"""Controls: what must not be found where there is nothing, and what other methods reach."""

from __future__ import annotations

from levelseq.cohort import Cohort
from levelseq.models.adapt import false_correction
from levelseq.validate.gates import Gate, Limits, judge, not_evaluated
from levelseq.validate.peers import OWN, Peers

__all__ = ["peer_controls", "random_split"]

_WORDS = {"unintegrated": "Without levelling", "combat": "By ComBat"}


def random_split(model: str, cohort: Cohort, seed: int) -> Gate:
    """One batch split at random and levelled as if it were two: nothing must move."""
    moved = false_correction(model, cohort.address, seed)
    reason = (
        f"One batch, split at random and levelled as two, has {moved:.0%} of its cells displaced."
    )
    return judge("random_split", moved, Limits((None, 0.1), (None, 0.3)), reason)


def peer_controls(peers: Peers) -> list[Gate]:
    """`unintegrated` and `combat`: their totals, which the model's must reach."""
    own = peers.own.row()["total"]
    return [_peer(peers, name, own) for name in _WORDS]


def _peer(peers: Peers, name: str, own: float | None) -> Gate:
    if name not in peers.by_method:
        return not_evaluated(name, peers.no_combat)
    total = peers.by_method[name].row()["total"]
    if own is None or total is None:
        return not_evaluated(name, "These data do not allow a total score.")
    better = "more than" if total > own else "no more than"
    kind = "total score" if peers.own.scib else "total score without labels"
    reason = f"{_WORDS[name]} the {kind} is {total:.3f}, {better} {OWN}'s {own:.3f}."
    return judge(name, total, Limits((None, own), (None, None)), reason)
