"""`levelseq models` and `levelseq baselines`: what was decided, and against what."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from levelseq.errors import BadAddress, BadOption
from levelseq.store import join
from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.options import add_name, add_workspace

__all__ = ["BASELINES", "MODELS"]

_COHORT = ("cohort", "run", "model", "tissue", "assay")


def _models_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "log", "rollback", "change-record"),
        default="list",
        help="list the models, print the decision log, bring the last champion back, or print "
        "what changed with a decision, by which protocol and to what effect (default: list)",
    )
    parser.add_argument(
        "--reason", default="asked for", metavar="TEXT", help="why, for the log of a rollback"
    )
    parser.add_argument(
        "--entry",
        type=int,
        default=0,
        metavar="N",
        help="the log entry of a change record (default: the last)",
    )
    parser.add_argument("--json", action="store_true", help="print a change record as JSON")
    add_workspace(parser)
    add_name(parser)


def _models(args: argparse.Namespace) -> str | None:
    from levelseq.registry import Registry, as_markdown, change_record, describe
    from levelseq.registry.sinks import tell_champion

    registry = Registry(args.workspace, args.name)
    if args.action == "rollback":
        registry.rollback(args.reason)
        tell_champion(args.workspace, args.name)
        return join(args.workspace, "registry", args.name, "champion.json")
    _check_known(args)
    if args.action == "change-record":
        record = change_record(args.workspace, args.name, args.entry)
        print(
            json.dumps(record, ensure_ascii=False, indent=2) if args.json else as_markdown(record)
        )
    elif args.action == "log":
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
    for option, text in (
        ("tissue", "only cohorts with this tissue"),
        ("assay", "only cohorts with this assay"),
        ("gate", "this gate's value on each cohort, and the version of its metric"),
    ):
        parser.add_argument(f"--{option}", default="", metavar="NAME", help=text)
    parser.add_argument("--json", action="store_true", help="print the baselines as a JSON list")


def _baselines(args: argparse.Namespace) -> None:
    from levelseq.registry import Baselines

    _check_known(args)
    rows = Baselines(args.workspace, args.name).all()
    for role in ("tissue", "assay"):
        wanted = getattr(args, role)
        rows = [row for row in rows if not wanted or wanted in row.get(role, [])]
    if args.gate:
        rows = _of_gate(rows, args.gate)
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    texts = [row | {k: ", ".join(row.get(k, [])) for k in ("tissue", "assay")} for row in rows]
    _print_table(texts, (*_COHORT, "gate", "value", "metric") if args.gate else _COHORT)


def _of_gate(rows: list[dict[str, Any]], gate: str) -> list[dict[str, Any]]:
    """Baselines as a series of one gate.

    Raises:
        BadOption: no baseline has the gate.
    """
    known = sorted({name for row in rows for name in row["gates"]})
    if rows and gate not in known:
        raise BadOption(
            f"{gate!r} is on no baseline", where="--gate", do=f"one of {', '.join(known)}"
        )
    return [
        {column: row.get(column, "") for column in _COHORT}
        | {"gate": gate, "value": row["gates"][gate], "metric": row.get("metrics", {}).get(gate)}
        for row in rows
        if gate in row["gates"]
    ]


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
        cells = (row.get(column) for column in columns)
        print("\t".join("" if cell is None else str(cell) for cell in cells))


MODELS = Command(
    "models", "list a study's models, its decisions, or roll back", _models_options, _models
)
BASELINES = Command(
    "baselines", "list what a study's runs are judged against", _baselines_options, _baselines
)
