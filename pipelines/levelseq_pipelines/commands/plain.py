"""`levelseq normalize COUNTS …`: plain files in, a plain file out, no workspace."""

from __future__ import annotations

import argparse

from levelseq.errors import BadOption
from levelseq.normalize.params import NormalizeParams
from levelseq_pipelines.options import absolute, add_address, given

__all__ = ["add_plain_options", "normalize_plain_files"]


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

    if not args.out:
        raise BadOption("is needed with a file of counts", where="--out")
    if args.cohort or args.model:
        raise BadOption("a file of counts and a cohort exclude each other", where="--cohort")
    params = NormalizeParams.checked(**given(args, NormalizeParams))
    return normalize_files(
        args.counts, args.samples, params.method, args.batch, params.condition, args.out
    )
