"""What every Kubeflow door does: run its step, hand on an address, and fail in a way that tells.

A door's body is one call into this module. It needs no kfp, and imports a step only when its door
is called.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from levelseq.artifacts import Artifact, address_of, hand_on, picked, show
from levelseq.cohort import manifest_json
from levelseq.cost import costed
from levelseq.errors import BadOption, LevelseqError
from levelseq.store import join, open_store, read_json

__all__ = [
    "IMAGE",
    "Planned",
    "champion_of",
    "enforce",
    "ingest",
    "normalize",
    "plan",
    "plan_run",
    "recalibrate",
    "reporting",
    "train",
    "validate",
]

IMAGE = os.environ.get("LEVELSEQ_IMAGE", "levelseq/levelseq-cpu:0.1.0")


class Planned(NamedTuple):
    """What a plan fixes before anything is read into shape."""

    plan: str
    fingerprint: str
    run: str
    champion: str


@contextlib.contextmanager
def reporting(workspace: str, run: str) -> Iterator[None]:
    """Leave an error as `runs/<run>/error.json` and as the log's last line, and end with its code.

    An error of an earlier try is taken away first. A bug passes through with its traceback.
    """
    place = join(workspace, "runs", run)
    try:
        open_store(place).delete("error.json")
        yield
    except LevelseqError as error:
        with contextlib.suppress(LevelseqError):
            open_store(place).put("error.json", manifest_json(error.as_json()))
        sys.stdout.flush()
        print(f"levelseq: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.code) from error


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
        "options": choices,
        "champion": champion if pipeline == "map_new_data" else "",
    }
    return Planned(address, fingerprint, run_id(content), champion)


def champion_of(workspace: str, name: str) -> str:
    """The address of a name's champion model, or nothing."""
    from levelseq.registry import Registry

    entry = Registry(workspace, name).champion()
    return join(workspace, "models", str(entry["model"])) if entry else ""


@costed
def plan(plan: Artifact, deposits: list[str], workspace: str, run: str, **given: Any) -> Planned:
    """The `plan` door; a run without a name is named after its content."""
    from levelseq.registry import run_id

    asked = run or run_id({"deposits": deposits, **given})
    with reporting(workspace, asked):
        planned = plan_run(deposits, workspace, **given)
        hand_on(plan, planned.plan, {"fingerprint": planned.fingerprint})
        return planned._replace(run=run or planned.run)


@costed
def ingest(plan: Artifact, cohort: Artifact, workspace: str, run: str, fingerprint: str) -> None:
    """The `ingest` door."""
    from levelseq.cohort import open_cohort
    from levelseq.ingest import step

    with reporting(workspace, run):
        address = step.run(address_of(plan), workspace)
        manifest = open_cohort(address).manifest
        hand_on(cohort, address, picked(manifest, "fingerprint", "n_obs", "n_vars"))


@costed
def normalize(
    cohort: Artifact,
    normalized: Artifact,
    workspace: str,
    run: str,
    fingerprint: str,
    model: Artifact | None,
    champion: str,
    **options: Any,
) -> None:
    """The `normalize` door: by a model when there is one, else by a classical method."""
    from levelseq.cohort import open_normalized
    from levelseq.normalize import step
    from levelseq.normalize.params import NormalizeParams

    with reporting(workspace, run):
        params = NormalizeParams.checked(**options)
        by = address_of(model) if model is not None else champion
        address = step.run(params, address_of(cohort), workspace, by)
        facts = picked(open_normalized(address).manifest, "key", "method", "unit")
        hand_on(normalized, address, facts)


@costed
def train(
    cohort: Artifact,
    normalized: Artifact,
    model: Artifact,
    workspace: str,
    run: str,
    fingerprint: str,
    **options: Any,
) -> None:
    """The `train` door."""
    from levelseq.train import step
    from levelseq.train.params import TrainParams

    with reporting(workspace, run):
        params = TrainParams.checked(**options)
        address = step.run(params, address_of(cohort), address_of(normalized), workspace)
        hand_on(model, address, picked(read_json(join(address, "model.json")), "key", "class"))


@costed
def validate(
    cohort: Artifact,
    normalized: Artifact,
    verdict: Artifact,
    report: Artifact,
    summary: Artifact,
    workspace: str,
    name: str,
    run: str,
    fingerprint: str,
    model: Artifact | None,
    champion: str,
    **options: Any,
) -> tuple[str, str]:
    """The `validate` door: the data's and the model's decision; it ends well whatever they are."""
    from levelseq.validate import step
    from levelseq.validate.params import ValidateParams

    with reporting(workspace, run):
        params = ValidateParams.checked(**options)
        by = address_of(model) if model is not None else champion
        address = step.run(
            params, address_of(cohort), address_of(normalized), by, workspace, name, run
        )
        content = show(address, verdict, report, summary)
        return str(content["data"]), str(content["model_decision"])


@costed
def recalibrate(
    verdict: Artifact,
    final: Artifact,
    report: Artifact,
    summary: Artifact,
    workspace: str,
    name: str,
    run: str,
    **options: Any,
) -> str:
    """The `recalibrate` door: the final verdict's address."""
    from levelseq.recalibrate import step
    from levelseq.recalibrate.params import RecalibrateParams

    with reporting(workspace, run):
        params = RecalibrateParams.checked(**options)
        address = step.run(params, address_of(verdict), workspace, name)
        show(address, final, report, summary)
        return address


@costed
def enforce(verdict: str, workspace: str, run: str) -> None:
    """The `enforce` door: fails when the final verdict refuses the data."""
    from levelseq.recalibrate import enforce as enforcement

    with reporting(workspace, run):
        enforcement.run(verdict)
