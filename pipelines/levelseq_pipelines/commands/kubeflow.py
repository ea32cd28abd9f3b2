"""`levelseq compile`: the pipelines as a cluster takes them."""

from __future__ import annotations

import argparse
from pathlib import Path

from levelseq_pipelines.commands.command import Command

__all__ = ["COMPILE"]


def _compile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="pipelines/compiled", metavar="DIR", help="where the YAML files go"
    )


def _compile(args: argparse.Namespace) -> str:
    from levelseq_pipelines.compile import compile_all

    return "\n".join(str(file) for file in compile_all(Path(args.out)))


COMPILE = Command("compile", "write the pipelines' YAML", _compile_options, _compile)
