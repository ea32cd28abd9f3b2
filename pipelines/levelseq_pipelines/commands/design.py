"""`levelseq normalize --design`: what a sample table lets batch methods estimate."""

from __future__ import annotations

import argparse

from levelseq.errors import BadOption

__all__ = ["tell_design"]


def tell_design(args: argparse.Namespace) -> None:
    """Print the design report of a sample table, a line each.

    Raises:
        BadOption: the table or its batch is not named, or a cohort is.
    """
    from levelseq.normalize.plain_design import table_report

    if args.cohort:
        raise BadOption("is for plain files", where="--design", do="give --samples, no cohort")
    # Of an .h5ad the samples are its own; counts are not read.
    samples = args.samples or (args.counts if args.counts.endswith(".h5ad") else "")
    for name, value in (("samples", samples), ("batch", args.batch)):
        if not value:
            raise BadOption("is needed with --design", where=f"--{name}")
    kept = [getattr(args, "condition", ""), *getattr(args, "covariates", [])]
    for line in table_report(samples, args.batch, [name for name in kept if name]).lines():
        print(line)
