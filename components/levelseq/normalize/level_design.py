"""A design that a method is about to be fitted to: checked, refused with what can be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from levelseq.errors import BadInput, BadOption
from levelseq.normalize.design import Coding, Design, check_covariates, check_design
from levelseq.normalize.design_report import DesignReport, design_report
from levelseq.normalize.stream import Stream

__all__ = ["Checked", "check_condition", "checked_design", "offering"]


class Checked(NamedTuple):
    """A design that can be fitted.

    Attributes:
        batches: their names, sorted.
        coding: of the covariates.
        notices: what it tells badly or not at all, a line each.
    """

    batches: tuple[str, ...]
    coding: Coding
    notices: list[str]


def checked_design(stream: Stream, design: Design, reference_batch: str = "") -> Checked:
    """A design of batches that can be fitted.

    Raises:
        BadInput: it cannot; says what can be done with it instead.
        BadOption: the reference batch is not there, or has one sample.
    """
    with offering(stream, design) as report:
        batches, coding = check_design(design, reference_batch, stream.source.names)
    return Checked(batches, coding, report.warnings)


@contextmanager
def offering(stream: Stream, design: Design) -> Iterator[DesignReport]:
    """The report of a design; a method that refuses this design inside says what it offers.

    Raises:
        BadInput: as raised inside, with the report's offers as the way out.
    """
    report = design_report(design, stream.source.names)
    try:
        yield report
    except BadOption:
        raise
    except BadInput as refused:
        if not report.refusal or not refused.where.startswith("column"):
            raise
        offers = "; ".join(report.offers)
        raise BadInput(refused.message, where=refused.where, do=offers) from refused


def check_condition(design: Design, condition: str) -> Coding:
    """The covariates' coding of a design without batches, whose condition is of interest.

    Raises:
        BadInput: the condition has one value, follows from the covariates, or leaves no samples.
    """
    coding = design.coding()
    if condition not in coding:
        raise BadInput(
            "has one value in all samples, so there is nothing to keep",
            where=f"column {condition!r}",
            do="name another condition, or use quantile",
        )
    n_columns = check_covariates(design, coding).shape[1] + 1
    if len(design.batch) <= n_columns + 1:
        raise BadInput(
            f"{len(design.batch)} samples leave nothing to find surrogates by beside "
            f"{n_columns} columns of condition and covariates",
            where=f"column {condition!r}",
            do="add samples, or leave covariates out",
        )
    return coding
