"""`levelseq normalize --design`: what a sample table lets batch methods estimate."""

from __future__ import annotations

import argparse

from levelseq.errors import BadOption

__all__ = ["tell_design"]


def tell_design(args: argparse.Namespace) -> None:
    """Print the design report of a sample table, a line each.

    Raises:
        BadOption: the table or its batch is not named, or counts are, which are not read.
    """
    from levelseq.normalize.plain_design import table_report

    for name in ("samples", "batch"):
        if not getattr(args, name):
            raise BadOption("is needed with --design", where=f"--{name}")
    if args.counts or args.cohort:
        raise BadOption("is told from the sample table alone", where="--design", do="no counts")
    kept = [getattr(args, "condition", ""), *getattr(args, "covariates", [])]
    for line in table_report(args.samples, args.batch, [name for name in kept if name]).lines():
        print(line)
