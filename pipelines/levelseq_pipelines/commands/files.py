"""`levelseq simulate` writes deposits; `levelseq export` writes one AnnData."""

from __future__ import annotations

import argparse

from levelseq.simulate import SimulateParams
from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.options import absolute, add_address, add_params, given

__all__ = ["EXPORT", "SIMULATE"]


def _simulate_options(parser: argparse.ArgumentParser) -> None:
    add_address(parser, "out", "where the deposits, their sheet and the truth go")
    add_params(parser, SimulateParams)


def _simulate(args: argparse.Namespace) -> str:
    from levelseq.simulate import study

    return study.write(SimulateParams.checked(**given(args, SimulateParams)), args.out)


def _export_options(parser: argparse.ArgumentParser) -> None:
    add_address(parser, "normalized", "the normalized values")
    parser.add_argument(
        "--out", required=True, type=absolute, metavar="FILE.h5ad", help="the file to write"
    )


def _export(args: argparse.Namespace) -> str:
    from levelseq.cohort.export import export

    return export(args.normalized, args.out)


SIMULATE = Command(
    "simulate", "draw a study with known truth and write its deposits", _simulate_options, _simulate
)
EXPORT = Command(
    "export", "counts, values, embedding and obs in one .h5ad", _export_options, _export
)
