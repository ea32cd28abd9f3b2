"""The five steps as plain commands, for any batch service."""

from __future__ import annotations

import argparse

from levelseq.errors import BadOption
from levelseq.ingest.params import IngestParams
from levelseq.normalize.params import MethodParams, NormalizeParams
from levelseq.recalibrate.params import RecalibrateParams
from levelseq.store import join
from levelseq.train.params import TrainParams
from levelseq.validate.params import ValidateParams
from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.commands.design import tell_design
from levelseq_pipelines.commands.plain import (
    add_plain_options,
    list_methods,
    normalize_plain_files,
    refuse_plain_options,
)
from levelseq_pipelines.commands.study import add_deposits, checked_addresses
from levelseq_pipelines.options import (
    add_address,
    add_name,
    add_params,
    add_workspace,
    given,
)

__all__ = ["INGEST", "NORMALIZE", "PLAN", "RECALIBRATE", "TRAIN", "VALIDATE"]


def _plan_options(parser: argparse.ArgumentParser) -> None:
    add_deposits(parser, required=True)
    add_workspace(parser)
    add_params(parser, IngestParams)


def _plan(args: argparse.Namespace) -> str:
    from levelseq.ingest import plan

    return plan.run(_ingest_params(args), args.deposits, args.workspace)


def _ingest(args: argparse.Namespace) -> str:
    from levelseq.ingest import step

    address = step.run_deposits(_ingest_params(args), args.deposits, args.workspace)
    return join(address, "cohort.json")


def _ingest_params(args: argparse.Namespace) -> IngestParams:
    return IngestParams.checked(**checked_addresses(given(args, IngestParams)))


def _normalize_options(parser: argparse.ArgumentParser) -> None:
    add_address(parser, "cohort", "the cohort to normalize", required=False)
    add_address(parser, "model", "the model to map through, instead of a method", required=False)
    add_address(
        parser,
        "fitted",
        "values or a saved fit of earlier samples, on whose scale these are brought",
        required=False,
    )
    add_workspace(parser, required=False)
    parser.add_argument("--list", action="store_true", help="tell every method and when to use it")
    parser.add_argument(
        "--design",
        action="store_true",
        help="tell what a table of --samples lets methods estimate by its --batch and --condition",
    )
    add_params(parser, NormalizeParams)
    add_plain_options(parser)


def _normalize(args: argparse.Namespace) -> str | None:
    if args.list:
        list_methods()
        return None
    if args.design:
        tell_design(args)
        return None
    if args.counts:
        return normalize_plain_files(args)
    if not args.cohort:
        raise BadOption("neither a cohort nor a file of counts was given", where="--cohort")
    refuse_plain_options(args)
    if not args.workspace:
        raise BadOption("is needed with a cohort", where="--workspace")
    from levelseq.normalize import step

    if args.model:
        _refuse_method(args)
    params = NormalizeParams.checked(**checked_addresses(given(args, NormalizeParams)))
    address = step.run(params, args.cohort, args.workspace, args.model, args.fitted)
    return join(address, "normalized.json")


def _refuse_method(args: argparse.Namespace) -> None:
    """Refuse what is said of a method, or of its genes, where values come from a model."""
    of_method = {*MethodParams.model_fields, "n_variable_genes"} - {"reference_batch"}
    if chosen := given(args, NormalizeParams).keys() & of_method:
        raise BadOption(
            "has no effect with a model",
            where=f"--{min(chosen).replace('_', '-')}",
            do="leave it out, or --model",
        )


def _train_options(parser: argparse.ArgumentParser) -> None:
    add_address(parser, "cohort", "the cohort, for its counts")
    add_address(parser, "normalized", "its classical values, for size factors and variable genes")
    add_workspace(parser)
    add_params(parser, TrainParams)


def _train(args: argparse.Namespace) -> str:
    from levelseq.train import step

    params = TrainParams.checked(**given(args, TrainParams))
    return join(step.run(params, args.cohort, args.normalized, args.workspace), "model.json")


def _validate_options(parser: argparse.ArgumentParser) -> None:
    add_address(parser, "cohort", "the cohort")
    add_address(parser, "normalized", "its values by the model")
    add_address(parser, "model", "the model they were mapped through")
    add_workspace(parser)
    add_name(parser)
    parser.add_argument(
        "--run", default="", metavar="ID", help="the run's id (default: made from the content)"
    )
    add_params(parser, ValidateParams)


def _validate(args: argparse.Namespace) -> str:
    from levelseq.cohort import open_normalized
    from levelseq.registry import run_id
    from levelseq.validate import step

    params = ValidateParams.checked(**checked_addresses(given(args, ValidateParams)))
    content = {
        "normalized": open_normalized(args.normalized).manifest["key"],
        "name": args.name,
        "params": params.model_dump(),
    }
    run = args.run or run_id(content)
    return step.run(
        params, args.cohort, args.normalized, args.model, args.workspace, args.name, run
    )


def _recalibrate_options(parser: argparse.ArgumentParser) -> None:
    add_address(parser, "verdict", "the first verdict, as validate wrote it")
    add_workspace(parser)
    add_name(parser)
    add_params(parser, RecalibrateParams)


def _recalibrate(args: argparse.Namespace) -> str:
    from levelseq.recalibrate import step

    params = RecalibrateParams.checked(**given(args, RecalibrateParams))
    return step.run(params, args.verdict, args.workspace, args.name)


PLAN = Command(
    "plan", "list and digest deposits; predict memory, disk and time", _plan_options, _plan
)
INGEST = Command("ingest", "read deposits into one cohort of counts", _plan_options, _ingest)
NORMALIZE = Command(
    "normalize",
    "comparable values, by a method or by a model; plain files too",
    _normalize_options,
    _normalize,
)
TRAIN = Command("train", "fit a model on the batch tree", _train_options, _train)
VALIDATE = Command(
    "validate", "judge a normalized cohort: gates, report", _validate_options, _validate
)
RECALIBRATE = Command(
    "recalibrate",
    "settle what becomes of the model",
    _recalibrate_options,
    _recalibrate,
)
