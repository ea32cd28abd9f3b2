"""The two pipelines: `normalize_cohort` fits a model, `map_new_data` maps through the champion."""
# kfp reads the annotations themselves: no `from __future__ import annotations` here.

from typing import Any, NamedTuple

from kfp import dsl

from levelseq.ingest.component import ingest, plan
from levelseq.normalize.component import normalize
from levelseq.recalibrate.component import enforce, recalibrate
from levelseq.train.component import train
from levelseq.validate.component import validate
from levelseq_pipelines.scheduling import FULL, GPU, SMALL, schedule

__all__ = ["PIPELINES", "choices_of", "map_new_data", "normalize_cohort", "study_of"]

_STUDY = (
    "batch",
    "label",
    "condition",
    "donor",
    "tissue",
    "assay",
    "date",
    "control",
    "keep",
    "genes",
)
_MAPPING = ("output_genes", "reference_batch", "interval", "most_unsupported")
_CHOICES = {
    "normalize_cohort": ("method", "model_class", "seed", "protected_genes", *_MAPPING),
    "map_new_data": ("seed", "protected_genes", *_MAPPING),
}


class _Gathered(NamedTuple):
    """A planned run and its cohort, with what every later task is told."""

    cohort: Any
    champion: Any
    told: dict[str, Any]


def _gather(pipeline: str, given: dict[str, Any]) -> _Gathered:
    """Plan and ingest; the run is named after the content and the choices."""
    workspace = given["workspace"]
    planned = plan(
        deposits=given["deposits"],
        workspace=workspace,
        name=given["name"],
        pipeline=pipeline,
        choices=_as_text(_CHOICES[pipeline], given),
        run=given["run"],
        **{field: given[field] for field in _STUDY},
    )
    schedule(planned, SMALL, cached=False)
    told = {key: planned.outputs[key] for key in ("run", "fingerprint")} | {"workspace": workspace}
    read = ingest(plan=planned.outputs["plan"], **told)
    schedule(read, FULL)
    return _Gathered(read.outputs["cohort"], planned.outputs["champion"], told)


def _as_text(choices: tuple[str, ...], given: dict[str, Any]) -> str:
    return " ".join(f"{choice}={given[choice]}" for choice in choices)


def _map(gathered: _Gathered, given: dict[str, Any], **model: Any) -> Any:
    """Bring the cohort through a model, given as an artifact or as the champion's address."""
    chosen = {choice: given[choice] for choice in _MAPPING}
    mapped = normalize(cohort=gathered.cohort, **chosen, **model, **gathered.told)
    schedule(mapped.set_display_name("map"), FULL)
    return mapped.outputs["normalized"]


def _judge(gathered: _Gathered, given: dict[str, Any], mapped: Any, **model: Any) -> None:
    """Validate; recalibrate on a GPU or a small pod, as the verdict asks; enforce the outcome."""
    told = {key: gathered.told[key] for key in ("workspace", "run")}
    name = given["name"]
    judged = validate(
        cohort=gathered.cohort,
        normalized=mapped,
        name=name,
        protected_genes=given["protected_genes"],
        seed=given["seed"],
        **model,
        **gathered.told,
    )
    schedule(judged, FULL, cached=False)
    verdict = judged.outputs["verdict"]
    with dsl.If(judged.outputs["model_decision"] == "recalibrate", "adapt"):
        adapted = recalibrate(verdict=verdict, name=name, **told)
        schedule(adapted, GPU, cached=False)
    with dsl.Else("settle"):
        settled = recalibrate(verdict=verdict, name=name, **told)
        schedule(settled, SMALL, cached=False)
    final = dsl.OneOf(adapted.outputs["address"], settled.outputs["address"])
    schedule(enforce(verdict=final, **told), SMALL, cached=False)


@dsl.pipeline(name="levelseq-normalize-cohort")
def normalize_cohort(
    deposits: list,
    workspace: str,
    name: str = "study",
    run: str = "",
    batch: str = "",
    label: str = "",
    condition: str = "",
    donor: str = "",
    tissue: str = "",
    assay: str = "",
    date: str = "",
    control: str = "",
    keep: list = [],
    genes: str = "",
    method: str = "log1p_cpm",
    output_genes: str = "variable",
    reference_batch: str = "",
    interval: bool = False,
    most_unsupported: float = 0.6,
    model_class: str = "auto",
    protected_genes: str = "",
    seed: int = 0,
):
    """Level a study: plan, ingest, normalize, train, map, validate, recalibrate, enforce.

    Args:
        deposits: the address of a sheet with a column `address`, or the deposits' addresses.
        workspace: the address below which everything is written.
        name: name of the study; its champion and baselines go by it.
        run: id of the run; made from the content when empty.
    """
    given = locals()
    gathered = _gather("normalize_cohort", given)
    classical = normalize(
        cohort=gathered.cohort, method=method, condition=condition, **gathered.told
    )
    schedule(classical, FULL)
    fitted = train(
        cohort=gathered.cohort,
        normalized=classical.outputs["normalized"],
        model_class=model_class,
        seed=seed,
        **gathered.told,
    )
    schedule(fitted, GPU)
    model = fitted.outputs["model"]
    _judge(gathered, given, _map(gathered, given, model=model), model=model)


@dsl.pipeline(name="levelseq-map-new-data")
def map_new_data(
    deposits: list,
    workspace: str,
    name: str = "study",
    run: str = "",
    batch: str = "",
    label: str = "",
    condition: str = "",
    donor: str = "",
    tissue: str = "",
    assay: str = "",
    date: str = "",
    control: str = "",
    keep: list = [],
    genes: str = "",
    output_genes: str = "variable",
    reference_batch: str = "",
    interval: bool = False,
    most_unsupported: float = 0.6,
    protected_genes: str = "",
    seed: int = 0,
):
    """Map new deposits through the champion: plan, ingest, map, validate, recalibrate, enforce.

    Args:
        deposits: the address of a sheet with a column `address`, or the deposits' addresses.
        workspace: the address below which everything is written.
        name: name of the study whose champion maps.
        run: id of the run; made from the content when empty.
    """
    given = locals()
    gathered = _gather("map_new_data", given)
    model = {"champion": gathered.champion}
    _judge(gathered, given, _map(gathered, given, **model), **model)


PIPELINES: dict[str, Any] = {
    "normalize_cohort": normalize_cohort,
    "map_new_data": map_new_data,
}


def choices_of(pipeline: str, options: dict[str, Any]) -> str:
    """A pipeline's choices beside the study's columns, as text, defaults filled in."""
    choices = _CHOICES[pipeline]
    inputs = PIPELINES[pipeline].component_spec.inputs
    return _as_text(choices, {choice: inputs[choice].default for choice in choices} | options)


def study_of(options: dict[str, Any]) -> dict[str, Any]:
    """The options that describe the study: fields of `IngestParams`."""
    return {field: value for field, value in options.items() if field in _STUDY}
