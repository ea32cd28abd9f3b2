"""The last task: a run whose final verdict refuses the data fails."""

from __future__ import annotations

from levelseq.cost import costs_of
from levelseq.errors import Refused
from levelseq.store import open_store, parent, read_json
from levelseq.validate.report import with_cost

__all__ = ["run"]


def run(verdict: str) -> None:
    """Pass when the final verdict releases the data; what an earlier try left is taken away.

    The report is told what the tasks before this one have cost.

    Raises:
        Refused: the verdict refuses the data; the reasons are in the line.
    """
    content, run = read_json(verdict), open_store(parent(verdict)[0])
    if page := run.get_versioned("report.html"):
        run.put("report.html", with_cost(page.content.decode(), costs_of(run)).encode())
    if content["data"] == "refuse":
        reasons = " ".join(str(reason) for reason in content["reasons"])
        raise Refused(
            f"the data are refused: {reasons}", where=verdict, do="see report.html beside it"
        )
    run.delete("error.json")
