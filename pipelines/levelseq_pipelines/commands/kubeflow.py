"""`levelseq compile`: the pipelines as a cluster takes them."""

from __future__ import annotations

import argparse
from pathlib import Path

from levelseq.errors import BadOption
from levelseq_pipelines.clouds import CLOUDS
from levelseq_pipelines.commands.command import Command

__all__ = ["COMPILE"]


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


COMPILE = Command("compile", "write the pipelines' YAML", _compile_options, _compile)
