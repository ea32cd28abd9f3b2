"""`levelseq compile` and `levelseq submit`: the same pipelines in a cluster."""

from __future__ import annotations

import argparse
from pathlib import Path

from levelseq.errors import BadOption
from levelseq_pipelines.clouds import CLOUDS
from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.commands.study import add_study, study_options
from levelseq_pipelines.options import add_name, add_workspace

__all__ = ["COMPILE", "SUBMIT"]


def _compile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="pipelines/compiled", metavar="DIR", help="where the YAML files go"
    )
    parser.add_argument(
        "--cloud",
        default="local",
        choices=tuple(CLOUDS),
        help="whose spot and GPU nodes the tasks are for (default: local, without either)",
    )
    parser.add_argument(
        "--queue", default="", metavar="NAME", help="Kueue's LocalQueue that tasks wait in"
    )
    parser.add_argument("--image", default="", metavar="IMAGE", help="of every task")
    parser.add_argument(
        "--gpu-image", default="", metavar="IMAGE", help="of the tasks that train on a GPU"
    )
    parser.add_argument(
        "--on-demand", action="store_true", help="leave nodes alone that may be taken away"
    )
    parser.add_argument(
        "--parts",
        type=int,
        default=0,
        metavar="N",
        help="most pods that work on shards side by side (default: 1 local, else 8)",
    )
    parser.add_argument(
        "--pinned", action="store_true", help="refuse images that are not named by their digest"
    )


def _compile(args: argparse.Namespace) -> str:
    from levelseq_pipelines.compile import compile_all
    from levelseq_pipelines.scheduling import Placement

    images = {name: getattr(args, name) for name in ("image", "gpu_image") if getattr(args, name)}
    if args.parts < 0:
        raise BadOption(f"{args.parts} is less than 0", where="--parts")
    chosen = Placement(
        cloud=args.cloud, queue=args.queue, on_demand=args.on_demand, parts=args.parts, **images
    )
    if args.pinned:
        chosen.refuse_unpinned()
    return "\n".join(str(file) for file in compile_all(Path(args.out), chosen))


def _submit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", required=True, metavar="URL", help="the Kubeflow Pipelines API server"
    )
    parser.add_argument(
        "--namespace",
        default=None,
        metavar="NAME",
        help="the profile's namespace, if there are any",
    )
    parser.add_argument(
        "--experiment", default="levelseq", metavar="NAME", help="where the run is listed"
    )
    parser.add_argument(
        "--service-account", default=None, metavar="NAME", help="the account that the pods run as"
    )
    add_workspace(parser)
    add_name(parser)
    add_study(parser, required=True)


def _submit(args: argparse.Namespace) -> str:
    from levelseq_pipelines.submit import submit

    arguments = {"deposits": args.deposits, "workspace": args.workspace, "name": args.name}
    return submit(
        args.pipeline,
        arguments | study_options(args),
        host=args.host,
        namespace=args.namespace,
        experiment=args.experiment,
        service_account=args.service_account,
    )


COMPILE = Command("compile", "write the pipelines' YAML", _compile_options, _compile)
SUBMIT = Command("submit", "start a pipeline in a cluster", _submit_options, _submit)
