"""The Kubeflow door of `validate`."""
# kfp reads the annotations themselves: no `from __future__ import annotations` in a door.

from typing import NamedTuple, Optional

from kfp import dsl

from levelseq.doors import IMAGE

__all__ = ["validate"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def validate(
    cohort: dsl.Input[dsl.Dataset],
    normalized: dsl.Input[dsl.Dataset],
    verdict: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    workspace: str,
    name: str,
    run: str,
    fingerprint: str = "",
    model: Optional[dsl.Input[dsl.Model]] = None,
    champion: str = "",
    max_cells: int = 5000,
    neighbours_kept: float = 0.82,
    bio_loss: float = 0.05,
    signature_correlation: float = 0.9,
    signature_slope: float = 0.2,
    false_genes: float = 0.01,
    protected_genes: str = "",
    smallest_group: int = 5,
    pictures: bool = True,
    seed: int = 0,
) -> NamedTuple("Decided", [("data", str), ("model_decision", str)]):
    """Judge a normalized cohort: gates, controls, first verdict and report.

    The task ends well whatever the verdict, so that the dashboard shows it.

    Args:
        cohort: address of the cohort.
        normalized: address of the values that a model gave.
        verdict: address of verdict.json; gates and scores as metrics.
        report: the report, one page.
        summary: the verdict in a few lines.
        workspace: the address below which everything is written.
        name: name of the study; its champion and baselines go by it.
        run: id of the run.
        fingerprint: the cohort's fingerprint.
        model: the model that was mapped through; without one `champion`.
        champion: address of the model that was mapped through when there is no artifact for it.

    Returns:
        Whether the data may be released (`release`, `refuse`), and what becomes of the model
        (`promote`, `keep`, `recalibrate`).
    """
    given = locals()
    from levelseq import doors

    return doors.validate(**given)
