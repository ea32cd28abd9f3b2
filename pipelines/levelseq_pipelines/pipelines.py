"""The pipelines: fit a model, map through the champion, watch for deposits, train on many nodes."""
# kfp reads the annotations themselves: no `from __future__ import annotations` here.

from typing import Any

from kfp import dsl

from levelseq.ingest.component import arrivals
from levelseq.train.component import train
from levelseq.train.component import train_distributed as launch
from levelseq_pipelines.graph import MAPPING, STUDY, TRAINING, as_text, ended, gather, judge, values
from levelseq_pipelines.scheduling import (
    FIT,
    LOCAL,
    SMALL,
    Placement,
    placed,
    placement,
    schedule,
)
from levelseq_pipelines.shared_components import share_components

__all__ = [
    "PIPELINES",
    "choices_of",
    "map_new_data",
    "normalize_cohort",
    "placed_pipeline",
    "study_of",
    "train_distributed",
    "watch",
]

_FITTING = ("method", *TRAINING, "seed", "protected_genes", *MAPPING)
_CHOICES = {
    "normalize_cohort": _FITTING,
    "map_new_data": ("seed", "protected_genes", *MAPPING),
    "train_distributed": _FITTING,
}


def _told(choices: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    return {choice: given[choice] for choice in choices}


def _fit_and_judge(given: dict[str, Any], pipeline: str = "normalize_cohort") -> None:
    """From deposits to a verdict on a model of their own."""
    gathered = gather(given, pipeline, as_text(_CHOICES[pipeline], given))
    classical = values(gathered, "normalize", method=given["method"], condition=given["condition"])
    asked = {
        "cohort": gathered.cohort,
        "normalized": classical,
        "seed": given["seed"],
        **_told(TRAINING, given),
        **gathered.told,
    }
    if pipeline == "train_distributed":
        fitted = _launched(asked, given, gathered.size)
    else:
        fitted = train(**asked)
        schedule(fitted.set_display_name("train"), FIT, gathered.size)
    model = fitted.outputs["model"]
    judge(
        gathered, given, values(gathered, "map", model=model, **_told(MAPPING, given)), model=model
    )


def _launched(asked: dict[str, Any], given: dict[str, Any], size: Any) -> Any:
    """A small pod that starts a TrainJob and waits for it."""
    chosen = placement()
    fitted = launch(
        image=chosen.gpu_image if chosen.nodes.gpu else chosen.image,
        queue=chosen.queue,
        nodes=given["nodes"],
        gpus=given["gpus"],
        runtime=given["runtime"],
        cpu=size.cpu,
        memory=size.gpu_memory if chosen.nodes.gpu else size.memory,
        **asked,
    )
    schedule(fitted.set_display_name("train"), SMALL.waiting(FIT))
    return fitted


def _map_and_judge(given: dict[str, Any]) -> None:
    """From deposits to a verdict on the champion's mapping of them."""
    gathered = gather(given, "map_new_data", as_text(_CHOICES["map_new_data"], given))
    model = {"champion": gathered.champion}
    judge(gathered, given, values(gathered, "map", **model, **_told(MAPPING, given)), **model)


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
    reference_counts: bool = False,
    most_unsupported: float = 0.6,
    model_class: str = "auto",
    use_labels: bool = False,
    likelihood: str = "nb",
    dispersion: str = "gene",
    ordered: str = "none",
    augment: str = "auto",
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
    with ended(workspace, run):
        _fit_and_judge(given)


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
    reference_counts: bool = False,
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
    with ended(workspace, run):
        _map_and_judge(given)


@dsl.pipeline(name="levelseq-watch")
def watch(
    deposits: list,
    workspace: str,
    name: str = "study",
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
    reference_counts: bool = False,
    most_unsupported: float = 0.6,
    model_class: str = "auto",
    use_labels: bool = False,
    likelihood: str = "nb",
    dispersion: str = "gene",
    ordered: str = "none",
    augment: str = "auto",
    protected_genes: str = "",
    seed: int = 0,
):
    """Look for deposits that no run has judged yet, and map them; to be run again and again.

    Without a champion the first ones make one, as normalize_cohort does. When nothing is new the
    run ends after one small task.

    Args:
        deposits: a sheet with a column `address`, addresses of deposits, or a folder of them.
        workspace: the address below which everything is written.
        name: name of the study whose champion maps.
    """
    given = locals()
    with ended(workspace, ""):
        found = arrivals(
            deposits=deposits,
            workspace=workspace,
            name=name,
            job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            **{field: given[field] for field in STUDY},
        )
        schedule(found, SMALL, cached=False)
        new = given | {"deposits": found.outputs["deposits"], "run": ""}
        with dsl.If(found.outputs["pipeline"] == "map_new_data", "map the new"):
            _map_and_judge(new)
        with dsl.Elif(found.outputs["pipeline"] == "normalize_cohort", "fit the first"):
            _fit_and_judge(new)


@dsl.pipeline(name="levelseq-train-distributed")
def train_distributed(
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
    reference_counts: bool = False,
    most_unsupported: float = 0.6,
    model_class: str = "vae",
    use_labels: bool = False,
    likelihood: str = "nb",
    dispersion: str = "gene",
    ordered: str = "none",
    augment: str = "auto",
    protected_genes: str = "",
    seed: int = 0,
    nodes: int = 2,
    gpus: str = "1",
    runtime: str = "levelseq-torch",
):
    """Level a study as normalize_cohort does, with the model trained on several nodes.

    Args:
        deposits: the address of a sheet with a column `address`, or the deposits' addresses.
        workspace: the address below which everything is written.
        name: name of the study; its champion and baselines go by it.
        run: id of the run; made from the content when empty.
        nodes: pods that train together.
        gpus: GPUs of each, as text; 0: none.
        runtime: the namespace's TrainingRuntime.
    """
    given = locals()
    with ended(workspace, run):
        _fit_and_judge(given, "train_distributed")


PIPELINES: dict[str, Any] = {
    "normalize_cohort": normalize_cohort,
    "map_new_data": map_new_data,
    "watch": watch,
    "train_distributed": train_distributed,
}


def placed_pipeline(pipeline: str, chosen: Placement) -> Any:
    """One pipeline, traced for a placement."""
    known = PIPELINES[pipeline]
    with placed(chosen):
        traced = dsl.pipeline(name=known.name)(known.pipeline_func)
    # A laptop's runner keeps a task's outputs in a folder that is named after its component.
    if chosen.cloud != LOCAL.cloud:
        share_components(traced.pipeline_spec, traced.platform_spec)
    return traced


def choices_of(pipeline: str, options: dict[str, Any]) -> str:
    """A pipeline's choices beside the study's columns, as text, defaults filled in."""
    choices = _CHOICES[pipeline]
    inputs = PIPELINES[pipeline].component_spec.inputs
    return as_text(choices, {choice: inputs[choice].default for choice in choices} | options)


def study_of(options: dict[str, Any]) -> dict[str, Any]:
    """The options that describe the study: fields of `IngestParams`."""
    return {field: value for field, value in options.items() if field in STUDY}
