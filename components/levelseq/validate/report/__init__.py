"""The report of one run: one HTML page that needs no network."""

from levelseq.validate.report.page import render, with_verdict

__all__ = ["render", "with_verdict"]
