"""`levelseq normalize COUNTS …`: plain files in, a plain file out, no workspace."""

from __future__ import annotations

import argparse

from levelseq.errors import BadOption
from levelseq.normalize.params import NormalizeParams
from levelseq_pipelines.options import absolute, add_address, given

__all__ = ["add_plain_options", "normalize_plain_files", "refuse_plain_options"]

_ONLY_COHORT = ("model", "workspace", "n_variable_genes", "output_genes", "interval")
_ONLY_PLAIN = {
    "samples": "a cohort's samples come with its deposits",
    "batch": "a cohort's batch tree is fixed at ingest",
    "out": "a cohort's values go below --workspace",
}


def add_plain_options(parser: argparse.ArgumentParser) -> None:
    """Options of the form without a workspace."""
    plain = parser.add_argument_group("plain files, no workspace")
    plain.add_argument(
        "counts",
        nargs="?",
        default="",
        type=absolute,
        metavar="COUNTS",
        help="a table of counts, genes x samples, or an .h5ad",
    )
    add_address(plain, "samples", "a table of the samples, one row each", required=False)
    plain.add_argument(
        "--batch", default="", metavar="COLUMN", help="the samples' column with the batch"
    )
    add_address(plain, "out", "the table of values to write", required=False)


def normalize_plain_files(args: argparse.Namespace) -> str:
    """Normalize a table of counts by a classical method, and give the address written.

    Raises:
        BadOption: an option of this form is missing, or one of the other form was given.
    """
    from levelseq.normalize.plain import normalize_files

    if args.cohort:
        raise BadOption("a file of counts and a cohort exclude each other", where="--cohort")
    for name in _ONLY_COHORT:
        # A field of the params is there only when it was given; an address is empty otherwise.
        if getattr(args, name, "") != "":
            raise BadOption(
                "is for a cohort, not for plain files",
                where=f"--{name.replace('_', '-')}",
                do="leave it out",
            )
    if not args.out:
        raise BadOption("is needed with a file of counts", where="--out")
    params = NormalizeParams.checked(**given(args, NormalizeParams))
    return normalize_files(
        args.counts,
        args.samples,
        params.method,
        args.batch,
        params.condition,
        args.out,
        params.reference_batch,
    )


def refuse_plain_options(args: argparse.Namespace) -> None:
    """Refuse options of this form beside a cohort, where nothing reads them.

    Raises:
        BadOption: one was given.
    """
    for name, why in _ONLY_PLAIN.items():
        if getattr(args, name):
            raise BadOption(f"is for plain files; {why}", where=f"--{name}")
