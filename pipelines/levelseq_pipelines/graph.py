"""The stretches that the pipelines share: gather a cohort, normalize, fit, map, judge."""
# kfp reads the annotations of pipelines only; these functions are traced inside one.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kfp import dsl

from levelseq.ingest.component import ingest, plan
from levelseq.normalize.component import normalize
from levelseq.recalibrate.component import enforce, recalibrate, summarize
from levelseq.validate.component import validate
from levelseq_pipelines.scheduling import (
    DATA,
    FIT,
    SMALL,
    Size,
    placement,
    schedule,
    tell_sinks,
)

__all__ = [
    "MAPPING",
    "STUDY",
    "TRAINING",
    "Gathered",
    "as_text",
    "ended",
    "gather",
    "judge",
    "values",
]

STUDY = (
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
TRAINING = ("model_class", "use_labels", "likelihood", "dispersion", "ordered", "augment")
MAPPING = ("output_genes", "reference_batch", "interval", "reference_counts", "most_unsupported")


class Gathered(NamedTuple):
    """A planned run and its cohort, with what every later task is told.

    Attributes:
        cohort: the ingested cohort.
        champion: address of the champion model.
        told: workspace, run and fingerprint.
        size: what tasks on the cohort ask for, by the plan's forecast.
        parts: names of the parts that work on the shards is split into.
    """

    cohort: Any
    champion: Any
    told: dict[str, Any]
    size: Size
    parts: Any


def ended(workspace: Any, run: Any) -> dsl.ExitHandler:
    """What runs whatever happens inside: the summary of how the run ended."""
    last = summarize(workspace=workspace, run=run, job=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    schedule(last, SMALL, cached=False)
    return dsl.ExitHandler(last, "run")


def gather(given: dict[str, Any], pipeline: str, choices: str) -> Gathered:
    """Plan and ingest; the run is named after the content and the choices."""
    workspace, most_parts = given["workspace"], placement().most_parts
    planned = plan(
        deposits=given["deposits"],
        workspace=workspace,
        name=given["name"],
        pipeline=pipeline,
        choices=choices,
        run=given["run"],
        job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        most_parts=most_parts,
        **{field: given[field] for field in STUDY},
    )
    schedule(planned.set_display_name("plan"), SMALL, cached=False)
    told = {key: planned.outputs[key] for key in ("run", "fingerprint")} | {"workspace": workspace}
    size = Size(*(planned.outputs[name] for name in ("cpu", "memory", "gpu_memory")))

    def reading(**part: Any) -> Any:
        return ingest(plan=planned.outputs["plan"], most_parts=most_parts, **told, **part)

    read = _in_parts(reading, planned.outputs["parts"], size, "ingest")
    outputs = read.outputs
    return Gathered(outputs["cohort"], planned.outputs["champion"], told, size, outputs["parts"])


def as_text(choices: tuple[str, ...], given: dict[str, Any]) -> str:
    """Choices and their values in one line, as part of what a run is named after."""
    return " ".join(f"{choice}={given[choice]}" for choice in choices)


def values(gathered: Gathered, display: str, **options: Any) -> Any:
    """Bring the cohort to comparable values, by a method or through a model."""

    def writing(**part: Any) -> Any:
        return normalize(cohort=gathered.cohort, **options, **gathered.told, **part)

    return _in_parts(writing, gathered.parts, gathered.size, display).outputs["normalized"]


def _in_parts(start: Callable[..., Any], parts: Any, size: Size, display: str) -> Any:
    """Do a step's parts side by side, then the step: it finds what they wrote."""
    waits: dict[str, Any] = {}
    most = placement().most_parts
    if most > 1:
        with dsl.ParallelFor(parts, f"{display} in parts", parallelism=most) as part:
            one = start(part=part)
            schedule(one.set_display_name(f"{display} a part"), DATA, size)
        waits = {"parts": dsl.Collected(one.outputs["written"])}
    whole = start(**waits)
    schedule(whole.set_display_name(display), DATA, size)
    return whole


def judge(gathered: Gathered, given: dict[str, Any], mapped: Any, **model: Any) -> None:
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
    schedule(judged.set_display_name("validate"), DATA, gathered.size, cached=False)
    verdict = judged.outputs["verdict"]
    with dsl.If(judged.outputs["model_decision"] == "recalibrate", "adapt"):
        adapted = recalibrate(verdict=verdict, name=name, **told)
        schedule(adapted.set_display_name("recalibrate"), FIT, gathered.size, cached=False)
        tell_sinks(adapted)
    with dsl.Else("settle"):
        settled = recalibrate(verdict=verdict, name=name, **told)
        schedule(settled.set_display_name("recalibrate"), SMALL, cached=False)
        tell_sinks(settled)
    final = dsl.OneOf(adapted.outputs["address"], settled.outputs["address"])
    kept = enforce(verdict=final, **told)
    schedule(kept.set_display_name("enforce"), SMALL, cached=False)
