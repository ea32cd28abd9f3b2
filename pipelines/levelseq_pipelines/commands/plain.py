"""`levelseq normalize COUNTS …`: plain files in, a plain file out, no workspace."""

from __future__ import annotations

import argparse
import textwrap

from levelseq.errors import BadOption
from levelseq.normalize.methods import CATALOGUE
from levelseq.normalize.params import MethodParams
from levelseq_pipelines.commands.study import checked_addresses
from levelseq_pipelines.options import absolute, add_address, given

__all__ = ["add_plain_options", "list_methods", "normalize_plain_files", "refuse_plain_options"]

_ONLY_COHORT = (
    "model",
    "workspace",
    "n_variable_genes",
    "output_genes",
    "interval",
    "reference_counts",
    "most_unsupported",
)
_ONLY_PLAIN = {
    "samples": "a cohort's samples come with its deposits",
    "batch": "a cohort's batch tree is fixed at ingest",
    "genes": "a cohort's gene table is given at ingest",
    "out": "a cohort's values go below --workspace",
    "out_samples": "a cohort's size factors are in its values' obs",
    "save_fit": "a cohort's fit is saved beside its values",
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
    add_address(plain, "genes", "a table of the genes: gene_id, gc, length", required=False)
    plain.add_argument(
        "--batch",
        default="",
        metavar="COLUMN",
        help="the samples' column with the batch, or nested ones as 'site>lab'",
    )
    add_address(plain, "out", "the table of values to write", required=False)
    plain.add_argument(
        "--out-samples",
        dest="out_samples",
        type=absolute,
        default="",
        metavar="ADDRESS",
        help="a table to write of the samples: size factors, surrogate variables",
    )
    plain.add_argument(
        "--save-fit",
        dest="save_fit",
        type=absolute,
        default="",
        metavar="ADDRESS",
        help="a folder to keep the fit in, for later samples; with --fitted, the batches that were "
        "new to it too",
    )


def normalize_plain_files(args: argparse.Namespace) -> str:
    """Normalize a table of counts by a classical method, and give the address written.

    Raises:
        BadOption: an option of this form is missing, or one of the other form was given.
    """
    from levelseq.normalize.plain import PlainFiles, normalize_files

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
    chosen = checked_addresses(given(args, MethodParams))
    files = PlainFiles(
        args.counts,
        args.samples,
        args.genes,
        args.out,
        args.out_samples,
        args.save_fit,
        args.fitted,
    )
    return normalize_files(files, MethodParams.checked(**chosen), args.batch)


def refuse_plain_options(args: argparse.Namespace) -> None:
    """Refuse options of this form beside a cohort, where nothing reads them.

    Raises:
        BadOption: one was given.
    """
    for name, why in _ONLY_PLAIN.items():
        if getattr(args, name):
            raise BadOption(f"is for plain files; {why}", where=f"--{name.replace('_', '-')}")


def list_methods() -> None:
    """Print the catalogue: each method, when to use it, what it equals, its paper."""
    kind = ""
    for method in CATALOGUE.values():
        if method.kind != kind:
            kind = method.kind
            print(f"{'' if method is next(iter(CATALOGUE.values())) else chr(10)}{kind}")
        print(f"  {method.name}")
        starts = ", ".join(
            f"{what} {name}"
            for what, name in (("values", method.values), ("size factors", method.size_factors))
            if name and name != method.name
        )
        uses = " ".join(f"--{name.replace('_', '-')}" for name in method.uses)
        lines = (
            ("when", method.when),
            ("as", method.r),
            ("from", starts),
            ("options", uses),
            ("paper", method.paper),
        )
        for what, said in lines:
            if said:
                print(
                    textwrap.fill(
                        said,
                        100,
                        initial_indent=f"    {what:<8}",
                        subsequent_indent=" " * 12,
                        break_on_hyphens=False,
                    )
                )
