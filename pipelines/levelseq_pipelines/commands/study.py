"""The options of `run` and `submit`: deposits, pipeline, and the pipeline's own parameters."""

from __future__ import annotations

import argparse
from typing import Any

from pydantic.fields import FieldInfo

from levelseq.cohort.batch_tree import parse_levels
from levelseq.cohort.ordered_levels import choose_ordered
from levelseq.errors import BadOption
from levelseq.ingest.params import IngestParams
from levelseq.normalize.params import NormalizeParams
from levelseq.parameters import StepParams
from levelseq.train.params import TrainParams
from levelseq.train.trainjob import Launch
from levelseq.validate.params import ValidateParams
from levelseq_pipelines.options import absolute, add_fields

__all__ = [
    "HERE",
    "IN_A_CLUSTER",
    "add_deposits",
    "add_study",
    "checked_addresses",
    "study_options",
]

_STEPS: tuple[type[StepParams], ...] = (IngestParams, NormalizeParams, TrainParams, ValidateParams)
HERE = ("normalize_cohort", "map_new_data")
IN_A_CLUSTER = (*HERE, "watch", "train_distributed")
_TRAINING = ("normalize_cohort", "train_distributed")
_TOLD: tuple[type[StepParams], ...] = (*_STEPS, Launch)
_OF_LAUNCH = ("nodes", "gpus", "runtime")
# Which image trains is the compiled pipeline's to say.
_IMAGE = {"image": "any"}
_PLUMBING = ("deposits", "workspace", "name", "run")


def add_deposits(parser: argparse.ArgumentParser, remark: str = "", *, required: bool) -> None:
    """`--deposits SHEET|ADDRESS…`."""
    parser.add_argument(
        "--deposits",
        nargs="+",
        type=absolute,
        required=required,
        default=[],
        metavar="ADDRESS",
        help="a sheet (CSV or TSV, one row a deposit, column 'address'), or deposits"
        + (f"; {remark}" if remark else ""),
    )


def add_study(
    parser: argparse.ArgumentParser,
    remark: str = "",
    *,
    required: bool = False,
    pipelines: tuple[str, ...] = HERE,
) -> None:
    """What a pipeline may be told, each option from the params model of its step."""
    add_deposits(parser, remark, required=required)
    parser.add_argument(
        "--pipeline",
        choices=pipelines,
        default=pipelines[0],
        help=f"what to run (default: {pipelines[0]})",
    )
    add_fields(parser, _fields(pipelines).items())


def study_options(args: argparse.Namespace) -> dict[str, Any]:
    """The pipeline parameters that the command line gave, checked by their steps' models.

    Raises:
        BadOption: a value is wrong, the pipeline does not take the option, or it trains and no
            batch is named.
    """
    from levelseq_pipelines.pipelines import PIPELINES

    known = _fields(IN_A_CLUSTER)
    options = {name: value for name, value in vars(args).items() if name in known}
    for name in options:
        if name not in PIPELINES[args.pipeline].component_spec.inputs:
            raise BadOption(
                f"is not an option of {args.pipeline}", where=f"--{name.replace('_', '-')}"
            )
    for params in _STEPS:
        own = {name: value for name, value in options.items() if name in params.model_fields}
        params.checked(**own)
    Launch.checked(**_IMAGE, **{name: options[name] for name in _OF_LAUNCH if name in options})
    if args.deposits and args.pipeline in _TRAINING:
        _refuse_before_reading(options)
    return checked_addresses(options)


def _refuse_before_reading(options: dict[str, Any]) -> None:
    """What training would refuse, after the deposits have been read."""
    levels = parse_levels(options.get("batch", ""))
    if not levels:
        raise BadOption(
            "no batch column is named",
            where="--batch",
            do="name the columns that tell the batches apart, such as 'site>run'",
        )
    own = {name: options[name] for name in TrainParams.model_fields if name in options}
    params = TrainParams.checked(**own)
    params.refuse_without_effect(params.model_class)
    if params.use_labels and not options.get("label"):
        raise BadOption(
            "no label column is named", where="--use-labels", do="name one with --label"
        )
    choose_ordered(params.ordered, levels, options.get("date"), {name: set() for name in levels})


def checked_addresses(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the addresses among them made absolute."""
    found = dict(options)
    for name in ("genes", "control_genes", "protected_genes"):
        if found.get(name):
            found[name] = absolute(found[name])
    if found.get("output_genes", "all") not in ("all", "variable"):
        found["output_genes"] = absolute(found["output_genes"])
    return found


def _fields(pipelines: tuple[str, ...]) -> dict[str, FieldInfo]:
    """The parameters of some pipelines with the fields that describe them."""
    from levelseq_pipelines.pipelines import PIPELINES

    names = dict.fromkeys(
        name
        for pipeline in pipelines
        for name in PIPELINES[pipeline].component_spec.inputs
        if name not in _PLUMBING
    )
    return {
        name: next(params.model_fields[name] for params in _TOLD if name in params.model_fields)
        for name in names
    }
