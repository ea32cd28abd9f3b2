"""The last task: a run whose final verdict refuses the data fails."""

from __future__ import annotations

from levelseq.errors import Refused
from levelseq.store import open_store, parent, read_json

__all__ = ["run"]


def run(verdict: str) -> None:
    """Pass when the final verdict releases the data; what an earlier try left is taken away.

    Raises:
        Refused: the verdict refuses the data; the reasons are in the line.
    """
    content = read_json(verdict)
    if content["data"] == "refuse":
        reasons = " ".join(str(reason) for reason in content["reasons"])
        raise Refused(
            f"the data are refused: {reasons}", where=verdict, do="see report.html beside it"
        )
    open_store(parent(verdict)[0]).delete("error.json")
