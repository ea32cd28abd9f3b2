"""The Kubeflow doors of the folder `ingest`: `plan`, `ingest` and `arrivals`."""
# kfp reads the annotations themselves: no `from __future__ import annotations` in a door.

from typing import NamedTuple

from kfp import dsl

from levelseq.doors import IMAGE

__all__ = ["arrivals", "ingest", "plan"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def plan(
    plan: dsl.Output[dsl.Artifact],
    deposits: list,
    workspace: str,
    name: str = "study",
    pipeline: str = "normalize_cohort",
    choices: str = "",
    run: str = "",
    job: str = "",
    most_parts: int = 1,
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
) -> NamedTuple(
    "Planned",
    [
        ("fingerprint", str),
        ("run", str),
        ("champion", str),
        ("parts", list),
        ("memory", str),
        ("gpu_memory", str),
        ("cpu", str),
    ],
):
    """List and digest the deposits; fix the cohort's fingerprint before anything is read.

    Args:
        plan: address of plan.json: deposits, digests, predicted memory, disk and time.
        deposits: the address of a sheet with a column `address`, or the deposits' addresses.
        workspace: the address below which everything is written.
        name: name of the study; its champion and baselines go by it.
        pipeline: the pipeline that asks; map_new_data needs a champion.
        choices: the pipeline's other choices as text; part of the run's id.
        run: id of the run; made from the content when empty.
        job: the Kubeflow job that the run belongs to.
        most_parts: parts that the deposits are split into at most.

    Returns:
        The cohort's fingerprint, the run's id, the champion model's address or nothing, the names
        of the parts, and the memory and processors that tasks on the cohort ask for.
    """
    given = locals()
    from levelseq import doors

    return doors.plan(**given)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ingest(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Output[dsl.Dataset],
    workspace: str,
    run: str,
    fingerprint: str = "",
    part: str = "",
    parts: list = [],
    most_parts: int = 1,
) -> NamedTuple("Ingested", [("parts", list), ("written", str)]):
    """Read the planned deposits into one cohort of counts, shard by shard.

    Args:
        plan: address of plan.json.
        cohort: address of the cohort: cohort.json and its shards.
        workspace: the address below which everything is written.
        run: id of the run; an error is left at runs/<run>/error.json.
        fingerprint: the cohort's fingerprint; makes the cache follow the content.
        part: which deposits are checked and staged, '1/4' the second of four; empty: the cohort.
        parts: what the parts before have done; the cohort waits for it.
        most_parts: parts that later work on the shards is split into at most.

    Returns:
        The names of those parts, and the part that this was.
    """
    given = locals()
    from levelseq import doors

    return doors.ingest(**given)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def arrivals(
    deposits: list,
    workspace: str,
    name: str,
    job: str = "",
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
) -> NamedTuple("Arrived", [("pipeline", str), ("deposits", list)]):
    """Find the deposits that no run of this study has judged yet, and that ingest will take.

    Args:
        deposits: a sheet with a column `address`, addresses of deposits, or a folder of them.
        workspace: the address below which everything is written.
        name: name of the study; its champion and its earlier runs go by it.
        job: the Kubeflow job that the run belongs to.

    Returns:
        What is to run (`map_new_data`, `normalize_cohort` when there is no champion yet,
        `nothing`), and the address of a sheet of the new deposits.
    """
    given = locals()
    from levelseq import doors

    return doors.arrivals(**given)
