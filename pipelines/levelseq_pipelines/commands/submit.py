"""`levelseq submit`: the same pipelines in a cluster or at a batch service."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import time
from typing import Any

from levelseq.doors import IMAGE
from levelseq.errors import BadOption
from levelseq.ingest.params import IngestParams
from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.commands.study import HERE, IN_A_CLUSTER, add_study, study_options
from levelseq_pipelines.options import add_name, add_workspace, given
from levelseq_pipelines.services import KUBEFLOW, SERVICES
from levelseq_pipelines.services.call import as_json
from levelseq_pipelines.services.job import (
    FORWARDED,
    Job,
    refuse_donors,
    refuse_local,
    run_words,
)

__all__ = ["SUBMIT"]

_JOB = (
    "image",
    "cpu",
    "memory",
    "gpu",
    "gpu_type",
    "spot",
    "retries",
    "hours",
    "cost_label",
    "env",
)
_ADDRESSES = ("genes", "control_genes", "protected_genes", "output_genes")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--service", choices=list(SERVICES), default=KUBEFLOW, help=f"(default: {KUBEFLOW})"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the requests as JSON and send nothing"
    )
    _add_places(parser)
    _add_job(parser)
    add_workspace(parser)
    add_name(parser)
    add_study(parser, required=True, pipelines=IN_A_CLUSTER)


def _add_places(parser: argparse.ArgumentParser) -> None:
    """What each service must be told, an option for each field; several may share one."""
    takers: dict[str, list[str]] = {}
    fields: dict[str, dataclasses.Field[Any]] = {}
    for service, module in SERVICES.items():
        for place in dataclasses.fields(module.Place):
            takers.setdefault(place.name, []).append(service)
            fields.setdefault(place.name, place)
    for name, place in fields.items():
        parser.add_argument(
            _flag(name),
            dest=name,
            default=argparse.SUPPRESS,
            metavar="TEXT",
            help=f"{', '.join(takers[name])}: {place.metadata['help']}",
        )


def _add_job(parser: argparse.ArgumentParser) -> None:
    """What a batch service's container gets; Kubeflow's tasks ask for their own."""
    job = parser.add_argument_group("a batch service's job")
    hidden: dict[str, Any] = {"default": argparse.SUPPRESS}
    job.add_argument("--image", metavar="NAME@DIGEST", help="default: LEVELSEQ_IMAGE", **hidden)
    job.add_argument("--cpu", type=int, metavar="N", help="cores (default: 4)", **hidden)
    job.add_argument("--memory", type=int, metavar="GIB", help="(default: 16)", **hidden)
    job.add_argument("--gpu", type=int, metavar="N", help="devices (default: 0)", **hidden)
    job.add_argument("--gpu-type", metavar="NAME", help="in the service's words", **hidden)
    job.add_argument(
        "--spot",
        action=argparse.BooleanOptionalAction,
        help="machines that may be taken away (google-batch alone; it is the default there)",
        **hidden,
    )
    job.add_argument(
        "--retries", type=int, metavar="N", help="of what a retry can mend (default: 3)", **hidden
    )
    job.add_argument(
        "--time-limit",
        dest="hours",
        type=float,
        metavar="HOURS",
        help="of one attempt; at azure-batch of all together (default: 24)",
        **hidden,
    )
    for name, text in (
        ("cost-label", "to find its cost by"),
        ("env", "for the container; no secrets"),
    ):
        job.add_argument(
            f"--{name}",
            action="append",
            metavar="NAME=VALUE",
            help=f"{text}; may be repeated",
            **hidden,
        )


def _submit(args: argparse.Namespace) -> str | None:
    service = SERVICES[args.service]
    place = _place(args)
    options = study_options(args)
    refuse_donors(IngestParams.checked(**given(args, IngestParams)))
    refuse_local(
        options[name]
        for name in _ADDRESSES
        if options.get(name, "all") not in ("", "all", "variable")
    )
    if args.service == KUBEFLOW:
        told = {"deposits": args.deposits, "workspace": args.workspace, "name": args.name}
        calls = service.calls(args.pipeline, told | options, place)
    else:
        _refuse_cluster_pipelines(args)
        calls = service.calls(_job(args, options), place)
    if args.dry_run:
        print(as_json(args.service, calls))
        return None
    return str(service.start(calls, place))


def _refuse_cluster_pipelines(args: argparse.Namespace) -> None:
    if args.pipeline not in HERE:
        raise BadOption(
            f"{args.pipeline} runs on Kubeflow alone",
            where="--pipeline",
            do=f"choose one of {', '.join(HERE)}",
        )


def _place(args: argparse.Namespace) -> Any:
    """The service's own options, all of them there and no other service's among them."""
    kind = SERVICES[args.service].Place
    own = {place.name: place for place in dataclasses.fields(kind)}
    others = {
        place.name for module in SERVICES.values() for place in dataclasses.fields(module.Place)
    }
    strange = (others - own.keys()) | set(_JOB if args.service == KUBEFLOW else ())
    for name in sorted(strange & vars(args).keys()):
        flag = "--time-limit" if name == "hours" else _flag(name)
        raise BadOption(f"is not an option of {args.service}", where=flag)
    for name, place in own.items():
        if place.default is dataclasses.MISSING and not getattr(args, name, ""):
            raise BadOption(f"is needed with --service {args.service}", where=_flag(name))
    return kind(**{name: value for name, value in vars(args).items() if name in own})


def _job(args: argparse.Namespace, options: dict[str, Any]) -> Job:
    asked = {name: value for name, value in vars(args).items() if name in _JOB}
    labels = dict(_pair("--cost-label", text) for text in asked.pop("cost_label", []))
    environment = {name: os.environ[name] for name in FORWARDED if os.environ.get(name)}
    environment |= dict(_pair("--env", text) for text in asked.pop("env", []))
    study = re.sub(r"[^a-z0-9]+", "-", args.name.lower()).strip("-")[:30] or "study"
    pipeline = args.pipeline.replace("_", "-")
    return Job(
        id=f"levelseq-{study}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}",
        image=asked.pop("image", IMAGE),
        argv=run_words(args.pipeline, args.deposits, args.workspace, args.name, options),
        deposits=tuple(args.deposits),
        workspace=args.workspace,
        environment=environment,
        labels={"application": "levelseq", "study": study, "pipeline": pipeline} | labels,
        **asked,
    )


def _pair(flag: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise BadOption(f"{text!r} is not NAME=VALUE", where=flag)
    return name, value


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


SUBMIT = Command(
    "submit", "start a pipeline in a cluster or at a batch service", _add_options, _submit
)
