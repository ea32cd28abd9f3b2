"""`levelseq run`: a pipeline on this machine, from deposits to verdict."""

from __future__ import annotations

import argparse
import sys

from levelseq.cohort import content_key
from levelseq.errors import BadOption
from levelseq.progress import stage
from levelseq.store import join, parent, read_json
from levelseq.verdict import summary_lines
from levelseq_pipelines.commands.command import Command
from levelseq_pipelines.commands.study import add_study, study_options
from levelseq_pipelines.options import add_name, add_workspace

__all__ = ["RUN"]

_SIMULATED = {
    "batch": "site>lab>run",
    "label": "cell_type",
    "condition": "condition",
    "donor": "donor",
}


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_workspace(parser, "workspace")
    add_name(parser)
    add_study(parser, "without it, a study is simulated")


def _run(args: argparse.Namespace) -> str:
    from levelseq.normalize.output_genes import read_gene_list
    from levelseq.validate.board import read_protected
    from levelseq_pipelines.local import run_pipeline

    options = study_options(args)
    # Files that late steps read: a name with a slip in it is not to be found out after training.
    read_protected(options.get("protected_genes", ""))
    read_gene_list(options.get("output_genes", ""))
    deposits = args.deposits
    if not deposits:
        if args.pipeline == "map_new_data":
            raise BadOption("is needed with map_new_data", where="--deposits")
        deposits = [_simulated_study(args.workspace)]
        options = _SIMULATED | options
    address, refusal = run_pipeline(args.pipeline, deposits, args.workspace, args.name, options)
    _tell(address)
    if refusal:
        print(address)
        raise refusal
    return address


def _tell(address: str) -> None:
    """The verdict in a few lines."""
    lines = summary_lines(read_json(address))
    report = join(parent(address)[0], "report.html")
    print("\n".join([*lines, f"report: {report}"]), file=sys.stderr)


def _simulated_study(workspace: str) -> str:
    """The sheet of the default study, simulated into the workspace unless it is there."""
    from levelseq.simulate import SimulateParams, study

    params = SimulateParams()
    folder = join(workspace, "deposits", f"simulated-{content_key(params.model_dump())[:12]}")
    sheet = study.write(params, folder)
    stage("simulate", "the default study is ready", sheet=sheet)
    return sheet


RUN = Command("run", "run a pipeline here, from deposits to verdict and report", _add_options, _run)
