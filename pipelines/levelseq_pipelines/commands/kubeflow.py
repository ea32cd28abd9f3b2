"""`levelseq compile` and `levelseq submit`: the same pipelines in a cluster."""

from __future__ import annotations

import argparse
from pathlib import Path

from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.commands.study import add_study, study_options
from levelseq_pipelines.options import add_name, add_workspace

__all__ = ["COMPILE", "SUBMIT"]


def _compile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="pipelines/compiled", metavar="DIR", help="where the YAML files go"
    )


def _compile(args: argparse.Namespace) -> str:
    from levelseq_pipelines.compile import compile_all

    return "\n".join(str(file) for file in compile_all(Path(args.out)))


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
