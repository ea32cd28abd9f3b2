"""The Kubeflow doors of the folder `recalibrate`: `recalibrate`, `enforce` and `summarize`."""
# kfp reads the annotations themselves: no `from __future__ import annotations` in a door.

from typing import NamedTuple

from kfp import dsl

from levelseq.doors import IMAGE

__all__ = ["enforce", "recalibrate", "summarize"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def recalibrate(
    verdict: dsl.Input[dsl.Metrics],
    final: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    workspace: str,
    name: str,
    run: str,
    score_slack: float = 0.02,
    retrain_cells: int = 200000,
) -> NamedTuple("Settled", [("address", str)]):
    """Settle what becomes of the model; the only writer of the registry.

    Args:
        verdict: address of the first verdict.
        final: address of the final verdict; gates and scores as metrics.
        report: the report of the final verdict.
        summary: the final verdict in a few lines.
        workspace: the address below which everything is written.
        name: name of the study; its champion and baselines go by it.
        run: id of the run.

    Returns:
        The final verdict's address.
    """
    given = locals()
    from levelseq import doors

    return (doors.recalibrate(**given),)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def enforce(verdict: str, workspace: str, run: str):
    """Fail the run when the final verdict refuses the data.

    Args:
        verdict: address of the final verdict.
        workspace: the address below which everything is written.
        run: id of the run; a refusal is left at runs/<run>/error.json.
    """
    given = locals()
    from levelseq import doors

    doors.enforce(**given)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def summarize(
    summary: dsl.Output[dsl.Markdown],
    workspace: str,
    run: str = "",
    job: str = "",
):
    """Say how the run ended, whatever ended it: its error in one line, or its verdict.

    Args:
        summary: what a person opens first.
        workspace: the address below which everything is written.
        run: id of the run; empty: the one that the job became.
        job: the Kubeflow job.
    """
    given = locals()
    from levelseq import doors

    doors.summarize(**given)
