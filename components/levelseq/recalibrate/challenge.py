"""Challengers: ways to recalibrate the champion, each mapped and judged in the same task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from levelseq.cohort import ROOT, BatchTree, Cohort, Normalized, open_cohort, open_normalized
from levelseq.models.saving import Model, load_model, read_metrics, read_model_json
from levelseq.recalibrate.held_out import HeldOut, Remake, compare
from levelseq.recalibrate.params import RecalibrateParams
from levelseq.store import join, read_json
from levelseq.validate.pictures import Pictures

__all__ = [
    "LADDER",
    "Challenge",
    "Rung",
    "Unsuited",
    "adapted",
    "fine_tuned",
    "re_fitted",
    "trained_anew",
]

Json = dict[str, Any]


def _not_compared() -> HeldOut | None:
    return None


@dataclass(frozen=True)
class Challenge:
    """A challenger judged on the same cohort.

    Attributes:
        verdict: as validation gives it.
        pictures: what its report draws.
        held_out: makes it again without a part of the new batches, and compares it with the
            champion on that part; None where the batches are too small. It costs as much as the
            challenger did, and is called when its gates pass.
    """

    verdict: Json
    pictures: Pictures
    held_out: Callable[[], HeldOut | None] = _not_compared


@dataclass(frozen=True)
class Unsuited:
    """Why a way does not suit this champion and cohort."""

    because: str


@dataclass(frozen=True)
class Rung:
    """A way to make a challenger: its name in the log, and what makes and judges it."""

    name: str
    make: Callable[[RecalibrateParams, Json, str, str], Challenge | Unsuited]


def re_fitted(
    params: RecalibrateParams, first: Json, workspace: str, name: str
) -> Challenge | Unsuited:
    """The classical state fitted again: ComBat's shifts and scales, or a network's latent offsets.

    Args:
        params: not needed here; a seam's signature.
        first: the first verdict; its cohort, values and model are in the workspace.
        workspace: where the challenger and its values are written.
        name: the registry's name.

    Raises:
        BadAddress: cohort, values or champion are not in the workspace.
    """
    champion, _ = _addresses(first, workspace)
    classical = read_model_json(champion)["class"] == "Classical"
    failed = {gate["name"] for gate in first["gates"] if gate["outcome"] == "fail"}
    of_genes = sorted(failed & {"drift.expression", "drift.genes"})
    if of_genes and not classical:
        return Unsuited(f"{' and '.join(of_genes)} failed, which offsets in latent space leave")
    return _adapted(first, workspace, name, genes=classical)


def adapted(
    params: RecalibrateParams, first: Json, workspace: str, name: str
) -> Challenge | Unsuited:
    """The champion with new effects of the genes for the cohort's leaves. As `re_fitted`."""
    champion, _ = _addresses(first, workspace)
    if read_model_json(champion)["class"] == "Classical":
        return Unsuited("a classical model has no other adapters than what was fitted again")
    return _adapted(first, workspace, name, genes=True)


def fine_tuned(
    params: RecalibrateParams, first: Json, workspace: str, name: str
) -> Challenge | Unsuited:
    """The champion trained on with the cohort's cells and a replay of its own. As `re_fitted`."""
    from levelseq.models.fine_tune import fine_tune_again, fine_tune_model

    champion, cohort = _addresses(first, workspace)
    model = fine_tune_model(champion, cohort, workspace)
    if model is None:
        return Unsuited(
            "it takes a network that was trained without labels on one cohort, which is there,"
            " and all of its genes in the new one"
        )
    return _judged(
        model, lambda part: fine_tune_again(champion, part, workspace), first, workspace, name
    )


def trained_anew(
    params: RecalibrateParams, first: Json, workspace: str, name: str
) -> Challenge | Unsuited:
    """A model of the champion's class trained on its cohorts and the new one. As `re_fitted`."""
    from levelseq.models.train_anew import train_again, train_anew_model, why_not_anew

    champion, cohort = _addresses(first, workspace)
    reason = why_not_anew(champion, cohort, workspace, params.retrain_cells)
    if reason:
        return Unsuited(reason)
    return _judged(
        train_anew_model(champion, cohort, workspace),
        lambda part: train_again(champion, cohort, part, workspace),
        first,
        workspace,
        name,
    )


def _addresses(first: Json, workspace: str) -> tuple[str, str]:
    """The champion's and the cohort's."""
    cohort = join(workspace, "cohorts", first["cohort"])
    return join(workspace, "models", first["model"]), cohort


def _adapted(first: Json, workspace: str, name: str, *, genes: bool) -> Challenge:
    """The champion adapted to the cohort, with effects of the genes or in latent space alone."""
    from levelseq.models.adapt import adapt, adapt_model

    champion, cohort = _addresses(first, workspace)
    loaded = load_model(champion)
    return _judged(
        adapt_model(champion, cohort, workspace, genes=genes),
        lambda part: adapt(loaded, part, part.obs(), genes=genes),
        first,
        workspace,
        name,
    )


def _judged(model: str, remake: Remake, first: Json, workspace: str, name: str) -> Challenge:
    """A challenger mapped and judged as the champion was."""
    from levelseq.models.mapping import map_cohort
    from levelseq.normalize.params import NormalizeParams
    from levelseq.validate.evaluate import evaluate
    from levelseq.validate.params import ValidateParams
    from levelseq.validate.verdict import as_verdict

    champion, address = _addresses(first, workspace)
    cohort = open_cohort(address)
    values = open_normalized(join(workspace, "normalized", first["normalized"]))
    layers = values.reader[0].layers
    mapping = NormalizeParams(
        reference_batch=_reference(values, champion, model),
        interval="lower" in layers,
        reference_counts="reference_counts" in layers,
    )
    mapped = map_cohort(mapping, address, model, workspace)
    found = evaluate(
        ValidateParams.checked(**first.get("params", {})),
        cohort,
        open_normalized(mapped),
        model,
        workspace,
        name,
    )
    return Challenge(
        as_verdict(found, first["run"]), found.pictures, _comparison(champion, remake, cohort)
    )


def _comparison(champion: str, remake: Remake, cohort: Cohort) -> Callable[[], HeldOut | None]:
    def held_out() -> HeldOut | None:
        model: Model = load_model(champion)
        return compare(model, remake, cohort)

    return held_out


def _reference(values: Normalized, champion: str, model: str) -> str:
    """The batch that the champion's values stand on, so that the challenger's do too.

    The whole path, since a new leaf may share its last name; nothing where it is the challenger's
    default, or the challenger does not know it (its old cohort is gone).
    """
    old, new = (
        BatchTree.from_json(read_json(join(m, "batch_tree.json"))) for m in (champion, model)
    )
    leaf = old.find_reference(values.manifest["reference_batch"])
    if not leaf:
        return ROOT
    path = ">".join(leaf)
    default = read_metrics(model)["largest_leaf"]
    return "" if path == default or leaf not in new.leaves else path


# The cheapest first.
LADDER = (
    Rung("re-fit", re_fitted),
    Rung("adapters", adapted),
    Rung("fine-tuning", fine_tuned),
    Rung("training", trained_anew),
)
