"""A run before a task starts: its plan, its id, and the champion that it would map through."""

from __future__ import annotations

from typing import Any, NamedTuple

from levelseq.errors import BadOption
from levelseq.store import join, read_json

__all__ = ["Planned", "champion_of", "plan_run"]


class Planned(NamedTuple):
    """What a plan fixes before anything is read into shape."""

    plan: str
    fingerprint: str
    run: str
    champion: str


def plan_run(
    deposits: list[str], workspace: str, *, name: str, pipeline: str, choices: str, **options: Any
) -> Planned:
    """Plan a pipeline's run: the plan's address, its fingerprint, the run's id, the champion.

    Args:
        choices: the pipeline's other choices as text; they are part of the run's id.
        options: the fields of `IngestParams`.

    Raises:
        BadInput: a deposit or option is wrong, or `map_new_data` finds no champion.
    """
    from levelseq.ingest import plan as ingest_plan
    from levelseq.ingest.params import IngestParams
    from levelseq.registry import run_id

    champion = champion_of(workspace, name)
    if pipeline == "map_new_data" and not champion:
        raise BadOption(
            f"there is no champion named {name!r} in this workspace",
            where="--name",
            do=f"run normalize_cohort with --name {name} first",
        )
    address = ingest_plan.run(IngestParams.checked(**options), deposits, workspace)
    fingerprint = str(read_json(address)["fingerprint"])
    content = {
        "fingerprint": fingerprint,
        "pipeline": pipeline,
        "name": name,
        # A choice that came later counts where it is made: ids of earlier runs stay.
        "options": choices.replace(" reference_counts=False", ""),
        "champion": champion if pipeline == "map_new_data" else "",
    }
    return Planned(address, fingerprint, run_id(content), champion)


def champion_of(workspace: str, name: str) -> str:
    """The address of a name's champion model, or nothing."""
    from levelseq.registry import Registry

    entry = Registry(workspace, name).champion()
    return join(workspace, "models", str(entry["model"])) if entry else ""
