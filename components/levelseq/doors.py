"""What every Kubeflow door does: run its step, hand on an address, and fail in a way that tells.

A door's body is one call into this module. It needs no kfp, and imports a step only when its door
is called.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from levelseq.artifacts import Artifact, address_of, hand_on, picked, show
from levelseq.cohort import Part, manifest_json, parts_of
from levelseq.cost import costed
from levelseq.errors import LevelseqError
from levelseq.planned_run import champion_of, plan_run
from levelseq.store import join, open_store, read_json

__all__ = [
    "IMAGE",
    "arrivals",
    "enforce",
    "ingest",
    "normalize",
    "plan",
    "recalibrate",
    "reporting",
    "summarize",
    "train",
    "train_distributed",
    "validate",
]

IMAGE = os.environ.get("LEVELSEQ_IMAGE", "levelseq/levelseq-cpu:0.1.0")


@contextlib.contextmanager
def reporting(workspace: str, run: str, part: str = "") -> Iterator[None]:
    """Leave an error as `runs/<run>/error.json` and as the log's last line, and end with its code.

    An error of an earlier try is taken away first, but not by one of several parts: it may be
    another's. A bug passes through with its traceback.
    """
    place = join(workspace, "runs", run)
    try:
        if not part:
            open_store(place).delete("error.json")
        yield
    except LevelseqError as error:
        with contextlib.suppress(LevelseqError):
            open_store(place).put("error.json", manifest_json(error.as_json()))
        sys.stdout.flush()
        print(f"levelseq: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.code) from error


@costed
def plan(
    plan: Artifact,
    deposits: list[str],
    workspace: str,
    run: str,
    job: str,
    most_parts: int,
    **given: Any,
) -> tuple[str, str, str, list[str], str, str, str]:
    """The `plan` door; a run without a name is named after its content."""
    from levelseq.ingest.forecast import requests
    from levelseq.registry import remember_job, run_id

    asked = run or run_id({"deposits": deposits, **given})
    job = "" if run else job
    with reporting(workspace, asked):
        remember_job(workspace, job, asked)
        planned = plan_run(deposits, workspace, **given)
        named = run or planned.run
        remember_job(workspace, job, named)
        content = read_json(planned.plan)
        predicted = content["predicted"]
        hand_on(plan, planned.plan, {"fingerprint": planned.fingerprint, **predicted})
        parts = parts_of(len(content["deposits"]), int(most_parts))
        asks = requests(predicted)
        sizes = (asks["memory"], asks["gpu_memory"], asks["cpu"])
        return planned.fingerprint, named, planned.champion, parts, *sizes


def arrivals(
    deposits: list[str], workspace: str, name: str, job: str, **options: Any
) -> tuple[str, list[str]]:
    """The `arrivals` door: which pipeline is to run, and over which deposits."""
    from levelseq.ingest.arrivals import arrived
    from levelseq.ingest.params import IngestParams
    from levelseq.registry import remember_job, run_id

    asked = run_id({"deposits": deposits, "watch": name})
    with reporting(workspace, asked):
        remember_job(workspace, job, asked)
        found = arrived(deposits, workspace, name, IngestParams.checked(**options))
        note = "" if found.n_new else f"nothing new among {found.n_listed} deposits"
        remember_job(workspace, job, asked if found.n_new else "", note, found.told())
        if not found.n_new:
            return "nothing", []
        known = champion_of(workspace, name)
        return "map_new_data" if known else "normalize_cohort", [found.sheet]


@costed
def ingest(
    plan: Artifact,
    cohort: Artifact,
    workspace: str,
    run: str,
    fingerprint: str,
    part: str,
    parts: list[str],
    most_parts: int,
) -> tuple[list[str], str]:
    """The `ingest` door: the names of the parts that work on the shards is split into."""
    from levelseq.cohort import open_cohort
    from levelseq.ingest import step

    with reporting(workspace, run, part):
        if part:
            if not Part.read(part).whole:
                step.run(address_of(plan), workspace, Part.read(part))
            hand_on(cohort, address_of(plan), {"part": part})
            return [], part
        address = step.run(address_of(plan), workspace)
        manifest = open_cohort(address).manifest
        hand_on(cohort, address, picked(manifest, "fingerprint", "n_obs", "n_vars"))
        return parts_of(len(manifest["shards"]), int(most_parts)), part


@costed
def normalize(
    cohort: Artifact,
    normalized: Artifact,
    workspace: str,
    run: str,
    fingerprint: str,
    model: Artifact | None,
    champion: str,
    part: str,
    parts: list[str],
    **options: Any,
) -> str:
    """The `normalize` door: by a model when there is one, else by a classical method."""
    from levelseq.cohort import open_normalized
    from levelseq.normalize import step
    from levelseq.normalize.params import NormalizeParams

    with reporting(workspace, run, part):
        params = NormalizeParams.checked(**options)
        by = address_of(model) if model is not None else champion
        if part:
            # Of one part alone all the work is left to the task that follows.
            if not Part.read(part).whole:
                step.run(params, address_of(cohort), workspace, by, part=Part.read(part))
            hand_on(normalized, address_of(cohort), {"part": part})
            return part
        address = step.run(params, address_of(cohort), workspace, by)
        facts = picked(open_normalized(address).manifest, "key", "method", "unit")
        hand_on(normalized, address, facts)
        return part


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
def train_distributed(
    cohort: Artifact,
    normalized: Artifact,
    model: Artifact,
    workspace: str,
    run: str,
    fingerprint: str,
    **options: Any,
) -> None:
    """The `train_distributed` door."""
    from levelseq.train import launch
    from levelseq.train.params import TrainParams
    from levelseq.train.trainjob import Launch

    with reporting(workspace, run):
        asked = Launch.checked(**{name: options.pop(name) for name in Launch.model_fields})
        params = TrainParams.checked(**options)
        address = launch.run(params, address_of(cohort), address_of(normalized), workspace, asked)
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


def summarize(summary: Artifact, workspace: str, run: str, job: str) -> None:
    """The `summarize` door: how the run ended, and its error's line as the log's last one."""
    from levelseq.run_summary import ending_of

    ending = ending_of(workspace, run, job)
    Path(summary.path).parent.mkdir(parents=True, exist_ok=True)
    Path(summary.path).write_text(ending.as_markdown(), encoding="utf-8")
    print("\n".join([ending.title, *ending.lines]), flush=True)
    if ending.error:
        print(ending.error, file=sys.stderr, flush=True)
