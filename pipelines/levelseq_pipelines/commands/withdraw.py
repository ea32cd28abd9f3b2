"""`levelseq withdraw`: cohorts without a donor, and what was made from the old ones."""

from __future__ import annotations

import argparse

from levelseq.errors import BadOption
from levelseq.store import read_bytes, read_json
from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.options import absolute, add_name, add_workspace

__all__ = ["WITHDRAW"]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--donor",
        action="append",
        default=[],
        metavar="ID",
        help="a donor's id as the donor column has it; may be repeated; a shell may remember it",
    )
    parser.add_argument(
        "--donor-file",
        type=absolute,
        default="",
        metavar="FILE",
        help="a text file with one donor's id a line",
    )
    add_workspace(parser)
    add_name(parser)


def _withdraw(args: argparse.Namespace) -> str:
    from levelseq.withdraw.withdrawal import withdraw

    listed = _lines(args.donor_file) if args.donor_file else []
    address = withdraw([*args.donor, *listed], args.workspace, args.name)
    _print(address)
    return address


def _lines(file: str) -> list[str]:
    try:
        return read_bytes(file).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadOption("is not text in UTF-8", where=file, do="write one id a line") from error


def _print(address: str) -> None:
    """What was replaced and what was made from it, one address below the workspace a line."""
    content = read_json(address)
    print("what\tpath\tby")
    for old, new in content["cohorts"].items():
        print(f"cohort\tcohorts/{old}\t{f'cohorts/{new}' if new else ''}")
    for kind, names in content["derived"].items():
        for name in names:
            path = f"{kind}/{name}{'.json' if kind == 'baselines' else ''}"
            print(f"{kind.removesuffix('s')}\t{path}\t")
    for fingerprint in content["unfinished"]:
        print(f"unfinished\tcohorts/{fingerprint}\t")
    champion = content["champion"]
    if champion["replace"]:
        print(f"champion\tmodels/{champion['before']}\t{champion['after'] or ''}")


WITHDRAW = Command(
    "withdraw",
    "rebuild cohorts without a donor, list what was made of them",
    _add_options,
    _withdraw,
)
