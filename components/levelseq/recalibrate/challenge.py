"""Challengers: ways to recalibrate the champion, each mapped and judged in the same task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from levelseq.cohort import BatchTree, Normalized, open_cohort, open_normalized
from levelseq.recalibrate.params import RecalibrateParams
from levelseq.store import join, read_json
from levelseq.validate.pictures import Pictures

__all__ = ["LADDER", "Challenge", "Rung", "adapted", "fine_tuned"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Challenge:
    """A challenger's verdict on the same cohort, and what its report draws."""

    verdict: Json
    pictures: Pictures


@dataclass(frozen=True)
class Rung:
    """A way to make a challenger.

    Attributes:
        name: as the log tells it.
        make: gives the challenger, judged; None where the way does not suit the champion.
        unsuited: why it may not.
    """

    name: str
    make: Callable[[RecalibrateParams, Json, str, str], Challenge | None]
    unsuited: str = ""


def adapted(params: RecalibrateParams, first: Json, workspace: str, name: str) -> Challenge:
    """The champion with new effects for the cohort's leaves, judged as the champion was.

    Args:
        params: not needed here; a seam's signature.
        first: the first verdict; its cohort, values and model are in the workspace.
        workspace: where the challenger and its values are written.
        name: the registry's name.

    Raises:
        BadAddress: cohort, values or champion are not in the workspace.
    """
    from levelseq.models.adapt import adapt_model

    cohort = join(workspace, "cohorts", first["cohort"])
    champion = join(workspace, "models", first["model"])
    return _judged(adapt_model(champion, cohort, workspace), first, workspace, name)


def fine_tuned(
    params: RecalibrateParams, first: Json, workspace: str, name: str
) -> Challenge | None:
    """The champion trained on with the cohort's cells and a replay of its own, judged alike.

    None for a classical champion, or one whose training cohort is gone. Arguments as `adapted`.
    """
    from levelseq.models.fine_tune import fine_tune_model

    cohort = join(workspace, "cohorts", first["cohort"])
    model = fine_tune_model(join(workspace, "models", first["model"]), cohort, workspace)
    return _judged(model, first, workspace, name) if model else None


def _judged(model: str, first: Json, workspace: str, name: str) -> Challenge:
    """A challenger mapped and judged as the champion was."""
    from levelseq.models.mapping import map_cohort
    from levelseq.normalize.params import NormalizeParams
    from levelseq.validate.evaluate import evaluate
    from levelseq.validate.params import ValidateParams
    from levelseq.validate.verdict import as_verdict

    cohort = join(workspace, "cohorts", first["cohort"])
    champion = join(workspace, "models", first["model"])
    values = open_normalized(join(workspace, "normalized", first["normalized"]))
    mapping = NormalizeParams(reference_batch=_reference(values, champion))
    mapped = map_cohort(mapping, cohort, model, workspace)
    found = evaluate(
        ValidateParams.checked(**first.get("params", {})),
        open_cohort(cohort),
        open_normalized(mapped),
        model,
        workspace,
        name,
    )
    return Challenge(as_verdict(found, first["run"]), found.pictures)


def _reference(values: Normalized, champion: str) -> str:
    """The batch that the champion's values stand on, so that the challenger's do too.

    The whole path, since a new leaf may share its last name; nothing where it is the default.
    """
    from levelseq.models.saving import read_metrics

    tree = BatchTree.from_json(read_json(join(champion, "batch_tree.json")))
    path = ">".join(tree.find_leaf(values.manifest["reference_batch"]))
    return "" if path == read_metrics(champion)["largest_leaf"] else path


# The cheapest first. Training anew is `normalize_cohort` on old and new deposits together.
LADDER = (
    Rung("adapters", adapted),
    Rung("fine-tuning", fine_tuned, "it takes a VAE and the cohort that it was trained on"),
)
