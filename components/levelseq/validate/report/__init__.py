"""The report of one run: one HTML page that needs no network."""

from levelseq.validate.report.page import render, with_verdict
from levelseq.validate.report.provenance import with_cost

__all__ = ["render", "with_cost", "with_verdict"]
