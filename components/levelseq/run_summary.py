"""How a run ended, for a person who opens the dashboard: its error's line or its verdict."""

from __future__ import annotations

from dataclasses import dataclass

from levelseq.errors import BadAddress, LevelseqError, from_json
from levelseq.registry import aside_of_job, run_folder, run_of_job
from levelseq.store import join, read_json
from levelseq.verdict import summary_lines

__all__ = ["Ending", "ending_of"]


@dataclass(frozen=True)
class Ending:
    """What became of a run.

    Attributes:
        title: one line.
        lines: what there is to say, a line each.
        error: the one line of the error that ended it; empty when none did.
    """

    title: str
    lines: list[str]
    error: str = ""

    def as_markdown(self) -> str:
        """A heading and one item a line."""
        return "\n".join([f"### {self.title}", "", *(f"- {line}" for line in self.lines), ""])


def ending_of(workspace: str, run: str, job: str) -> Ending:
    """How a run ended, from what it left in its folder.

    Args:
        workspace: the workspace of the run.
        run: its id; empty: the one that the Kubeflow job became.
        job: the Kubeflow job.
    """
    if run:
        return _ending(workspace, run, [])
    run, note = run_of_job(workspace, job)
    aside = aside_of_job(workspace, job)
    if not run:
        said = note or "it ended before it had a plan; the first failed task's log says why"
        return Ending("No run", [said, *aside])
    return _ending(workspace, run, aside)


def _ending(workspace: str, run: str, aside: list[str]) -> Ending:
    folder = run_folder(workspace, run)
    place = [f"run: {run}", f"folder: {folder}", *aside]
    error = _error(folder)
    verdict = _verdict(folder)
    if error and error.code != 3:
        return Ending("The run failed", [*_told(error), *place], f"levelseq: {error}")
    if verdict is None:
        said = "no verdict, and no error that was foreseen; the failed task's log ends with it"
        return Ending("The run did not end well", [said, *place])
    report = f"report: {join(folder, 'report.html')}"
    refused = "refuses" if error else "releases"
    return Ending(
        f"The verdict {refused} the data",
        [*verdict, report, *place],
        f"levelseq: {error}" if error else "",
    )


def _error(folder: str) -> LevelseqError | None:
    try:
        return from_json(read_json(join(folder, "error.json")))
    except BadAddress:
        return None


def _verdict(folder: str) -> list[str] | None:
    """The final verdict's lines, or None: the first one settles nothing."""
    try:
        content = read_json(join(folder, "verdict.json"))
    except BadAddress:
        return None
    return summary_lines(content) if "first" in content else None


def _told(error: LevelseqError) -> list[str]:
    """The parts of an error that say something."""
    retry = "a retry can mend it" if error.code == 75 else "a retry changes nothing"
    parts = {"what": error.message, "where": error.where, "what to do": error.do, "retry": retry}
    return [f"{name}: {said}" for name, said in parts.items() if said]
