"""`levelseq models` and `levelseq baselines`: what was decided, and against what."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from levelseq.errors import BadAddress
from levelseq.store import join
from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.options import add_name, add_workspace

__all__ = ["BASELINES", "MODELS"]


def _models_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "log", "rollback"),
        default="list",
        help="list the models, print the decision log, or bring the last champion back "
        "(default: list)",
    )
    parser.add_argument(
        "--reason", default="asked for", metavar="TEXT", help="why, for the log of a rollback"
    )
    add_workspace(parser)
    add_name(parser)


def _models(args: argparse.Namespace) -> str | None:
    from levelseq.registry import Registry, describe

    registry = Registry(args.workspace, args.name)
    if args.action == "rollback":
        registry.rollback(args.reason)
        return join(args.workspace, "registry", args.name, "champion.json")
    _check_known(args)
    if args.action == "log":
        rows = [entry | {"reasons": "; ".join(entry["reasons"])} for entry in registry.log()]
        _print_table(rows, ("number", "time", "action", "model", "run", "reasons"))
    else:
        rows = [
            row | {"champion": "champion" if row["champion"] else ""}
            for row in describe(args.workspace, args.name)
        ]
        _print_table(rows, ("model", "class", "parent", "run", "action", "time", "champion"))
    return None


def _baselines_options(parser: argparse.ArgumentParser) -> None:
    add_workspace(parser)
    add_name(parser)


def _baselines(args: argparse.Namespace) -> None:
    from levelseq.registry import Baselines

    _check_known(args)
    rows = Baselines(args.workspace, args.name).all()
    _print_table(rows, ("cohort", "run", "model"))


def _check_known(args: argparse.Namespace) -> None:
    """Refuse a name that neither decisions nor baselines go by: an empty table hides a slip."""
    from levelseq.registry import Baselines, Registry

    workspace, name = args.workspace, args.name
    if not Registry(workspace, name).log() and not Baselines(workspace, name).all():
        raise BadAddress(
            f"holds no study named {name!r}", where=workspace, do="check --workspace and --name"
        )


def _print_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Rows under their column names, on stdout, tab between."""
    print("\t".join(columns))
    for row in rows:
        print("\t".join(str(row.get(column, "")) for column in columns))


MODELS = Command(
    "models", "list a study's models, its decisions, or roll back", _models_options, _models
)
BASELINES = Command(
    "baselines", "list what a study's runs are judged against", _baselines_options, _baselines
)
