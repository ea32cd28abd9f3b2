"""The Kubeflow doors of the folder `ingest`: `plan` and `ingest`."""
# kfp reads the annotations themselves: no `from __future__ import annotations` in a door.

from typing import NamedTuple

from kfp import dsl

from levelseq.doors import IMAGE

__all__ = ["ingest", "plan"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def plan(
    plan: dsl.Output[dsl.Artifact],
    deposits: list,
    workspace: str,
    name: str = "study",
    pipeline: str = "normalize_cohort",
    choices: str = "",
    run: str = "",
    batch: str = "",
    label: str = "",
    condition: str = "",
    donor: str = "",
    tissue: str = "",
    assay: str = "",
    date: str = "",
    control: str = "",
    keep: list = [],
    genes: str = "",
) -> NamedTuple("Planned", [("fingerprint", str), ("run", str), ("champion", str)]):
    """List and digest the deposits; fix the cohort's fingerprint before anything is read.

    Args:
        plan: address of plan.json: deposits, digests, predicted memory, disk and time.
        deposits: the address of a sheet with a column `address`, or the deposits' addresses.
        workspace: the address below which everything is written.
        name: name of the study; its champion and baselines go by it.
        pipeline: the pipeline that asks; map_new_data needs a champion.
        choices: the pipeline's other choices as text; part of the run's id.
        run: id of the run; made from the content when empty.

    Returns:
        The cohort's fingerprint, the run's id, and the champion model's address or nothing.
    """
    given = locals()
    from levelseq import doors

    return doors.plan(**given)[1:]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Output[dsl.Dataset],
    workspace: str,
    run: str,
    fingerprint: str = "",
):
    """Read the planned deposits into one cohort of counts, shard by shard.

    Args:
        plan: address of plan.json.
        cohort: address of the cohort: cohort.json and its shards.
        workspace: the address below which everything is written.
        run: id of the run; an error is left at runs/<run>/error.json.
        fingerprint: the cohort's fingerprint; makes the cache follow the content.
    """
    given = locals()
    from levelseq import doors

    doors.ingest(**given)
