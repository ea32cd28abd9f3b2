"""Longitudinal consistency: do samples of earlier cohorts keep their values with a new champion?"""

from __future__ import annotations

from levelseq.cohort import BatchTree
from levelseq.errors import BadInput
from levelseq.models.saving import load_model, read_metrics, read_model_json
from levelseq.models.train_anew import learned_from
from levelseq.models.values_moved import Moved, values_moved
from levelseq.store import join
from levelseq.validate.gates import Gate, Limits, judge, not_evaluated

__all__ = ["NAME", "anchors_gate", "consistency"]

NAME = "consistency.anchors"
# A quarter of the standard deviation between samples: a sixteenth of their variance.
TOLERANCE = 0.25


def consistency(model: str, champion: str | None, workspace: str) -> Gate:
    """The gate of a model that may take the champion's place.

    Args:
        model: address of the model that was judged.
        champion: key of the champion, if there is one.
        workspace: where the champion and its cohorts are.
    """
    key = read_model_json(model)["key"]
    if champion is None:
        return not_evaluated(NAME, "There is no champion yet whose values could move.")
    if champion == key:
        return not_evaluated(NAME, "The champion itself: earlier samples keep their values.")
    address = join(workspace, "models", champion)
    cohorts = learned_from(address, workspace)
    if not cohorts:
        return not_evaluated(NAME, "No cohort that the champion was fitted to is left.")
    before, after = load_model(address), load_model(model)
    own = _default(address, before.tree)
    references = own, own if own in after.tree.leaves else _default(model, after.tree)
    seed = int(read_model_json(address)["params"].get("seed", 0))
    try:
        return anchors_gate(values_moved(before, after, cohorts[0], references, seed))
    except BadInput as error:
        return not_evaluated(NAME, f"The models cannot be compared: {error.message}.")


def anchors_gate(moved: Moved) -> Gate:
    """`consistency.anchors`: warns beyond the tolerance, so that the release notes say it."""
    reason = (
        f"With this model the values of {moved.samples} anchor samples move by"
        f" {moved.distance:.2f} log1p CPM (root mean square), {moved.share:.0%} of how far samples"
        f" lie apart; the stated tolerance is {TOLERANCE:.0%}."
    )
    return judge(NAME, moved.share, Limits((None, TOLERANCE), (None, None)), reason)


def _default(address: str, tree: BatchTree) -> tuple[str, ...]:
    """The leaf that a model's values stand on when nothing else is asked."""
    return tuple(tree.find_leaf(str(read_metrics(address)["largest_leaf"])))
