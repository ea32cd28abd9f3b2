"""The Kubeflow door of `normalize`: classical methods, and mapping by a model."""
# kfp reads the annotations themselves: no `from __future__ import annotations` in a door.

from typing import NamedTuple, Optional

from kfp import dsl

from levelseq.doors import IMAGE

__all__ = ["normalize"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def normalize(
    cohort: dsl.Input[dsl.Dataset],
    normalized: dsl.Output[dsl.Dataset],
    workspace: str,
    run: str,
    fingerprint: str = "",
    model: Optional[dsl.Input[dsl.Model]] = None,
    champion: str = "",
    part: str = "",
    parts: list = [],
    method: str = "log1p_cpm",
    size_factors: str = "",
    values: str = "",
    reference_batch: str = "",
    condition: str = "",
    covariates: list = [],
    second_batch: str = "",
    removed: list = [],
    prior: str = "parametric",
    mean_only: bool = False,
    shrink: bool = False,
    shrink_dispersion: bool = False,
    shrink_genes: int = 0,
    shrink_seed: int = 1,
    reference_samples: str = "",
    n_surrogates: int = 0,
    trend: str = "parametric",
    trend_genes: int = 1000,
    blind: bool = True,
    prior_count: float = 2.0,
    control_genes: str = "",
    feature: str = "gc",
    lane: str = "full",
    between: str = "",
    rounded: bool = True,
    n_variable_genes: int = 2000,
    output_genes: str = "variable",
    interval: bool = False,
    reference_counts: bool = False,
    most_unsupported: float = 0.6,
) -> NamedTuple("Normalized", [("written", str)]):
    """Bring the observations of one cohort to a common scale.

    Args:
        cohort: address of the cohort.
        normalized: address of the comparable values.
        workspace: the address below which everything is written.
        run: id of the run; an error is left at runs/<run>/error.json.
        fingerprint: the cohort's fingerprint; makes the cache follow the content.
        model: the model to map through; without one `champion`, without both `method`.
        champion: address of the model to map through when there is no artifact for it.
        part: which shards are written, '1/4' every fourth from the second on; empty: those that
            are not there yet, and the manifest.
        parts: what the parts before have written; the manifest waits for it.

    Returns:
        The part.
    """
    given = locals()
    from levelseq import doors

    return (doors.normalize(**given),)
