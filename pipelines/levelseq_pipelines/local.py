"""A pipeline on this machine: the compiled YAML, each task in a subprocess of its own."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import platform
import re
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from kfp import components, local

from levelseq.cohort import manifest_json
from levelseq.cost import Cost, Meter, costs_of, total
from levelseq.errors import BadAddress, LevelseqError, Refused, from_json
from levelseq.ingest.params import KeepRule
from levelseq.planned_run import plan_run
from levelseq.progress import is_for_reading, relay, stage
from levelseq.registry import run_folder
from levelseq.store import join, open_store, read_json
from levelseq_pipelines.compile import compiled_yaml
from levelseq_pipelines.pipelines import choices_of, study_of

__all__ = ["Finished", "run_pipeline", "tried_once"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_KFP_LINE = re.compile(r"^\s*\d\d:\d\d:\d\d\.\d+ - [A-Z]+ - ")
_VERSIONS = ("levelseq", "kfp", "torch", "anndata", "zarr", "numpy", "scipy", "pandas")


class Finished(NamedTuple):
    """The final verdict's address, and the refusal when it refuses the data."""

    verdict: str
    refusal: Refused | None


def run_pipeline(
    pipeline: str, deposits: list[str], workspace: str, name: str, options: dict[str, Any]
) -> Finished:
    """Run a pipeline here, as far as its final verdict.

    The plan is made in this process first: what is wrong with the input is said at once, and the
    run's id is known before a task starts.

    Args:
        options: the pipeline's other parameters; those not given keep their defaults.

    Raises:
        LevelseqError: what the failing task left as `runs/<run>/error.json`.
        SystemExit: a task failed in a way that nobody foresaw; its traceback has been printed.
    """
    planned = plan_run(
        deposits,
        workspace,
        name=name,
        pipeline=pipeline,
        choices=choices_of(pipeline, options),
        **study_of(options),
    )
    stage("run", "planned", pipeline=pipeline, run=planned.run, fingerprint=planned.fingerprint)
    arguments = {"deposits": deposits, "workspace": workspace, "name": name, "run": planned.run}
    rules = _donor_rules(options)
    told = {"keep": [rules.get(rule, rule) for rule in options["keep"]]} if rules else {}
    record = _Record(pipeline, name, arguments | options | told)
    folder = open_store(run_folder(workspace, planned.run))
    record.before = total(costs_of(folder))
    folder.delete("error.json")
    log, refusal = io.StringIO(), None
    try:
        _run_tasks(pipeline, arguments | options, log)
        record.outcome = "succeeded"
    except RuntimeError as error:
        failure = _failure(workspace, planned.run, log.getvalue())
        if not isinstance(failure, Refused):
            raise failure from error
        record.outcome, refusal = "refused", failure
    finally:
        folder.put("log.txt", _without(rules, log.getvalue()).encode())
        folder.put("run.json", manifest_json(record.as_json(planned.run, costs_of(folder))))
    return Finished(join(folder.address, "verdict.json"), refusal)


@dataclass
class _Record:
    """What `run.json` keeps of one run; times and versions make it differ from run to run."""

    pipeline: str
    name: str
    params: dict[str, Any]
    outcome: str = "failed"
    started: float = field(default_factory=time.time)
    meter: Meter = field(default_factory=Meter)
    before: Cost = field(default_factory=dict)

    def as_json(self, run: str, costs: dict[str, Cost]) -> dict[str, Any]:
        """The content of `run.json`; `costs` are the tasks', of this and earlier starts."""
        gpu_hours = total(costs).get("gpu_hours", 0) - self.before.get("gpu_hours", 0)
        return {
            "schema": "levelseq.run/1",
            "run": run,
            "pipeline": self.pipeline,
            "name": self.name,
            "params": self.params,
            "outcome": self.outcome,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "seconds": round(time.time() - self.started, 1),
            "cost": self.meter.as_json() | {"gpu_hours": round(gpu_hours, 6), "tasks": costs},
            "threads": os.environ[_THREADS[0]],
            "python": platform.python_version(),
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONS},
        }


def _donor_rules(params: dict[str, Any]) -> dict[str, str]:
    """Rules of `--keep` that name donors -> what may be told of them."""
    rules = {text: KeepRule.parse(text) for text in params.get("keep", [])}
    return {
        text: str(rule._replace(value="…"))
        for text, rule in rules.items()
        if rule.column == params.get("donor")
    }


def _without(rules: dict[str, str], text: str) -> str:
    """A log without the rules that name donors; kfp prints a task's arguments."""
    for rule, told in rules.items():
        for written in (rule, json.dumps(rule)[1:-1], str(KeepRule.parse(rule))):
            text = text.replace(written, told)
    return text


def _run_tasks(pipeline: str, arguments: dict[str, Any], log: io.StringIO) -> None:
    """Run the compiled pipeline with kfp's subprocess runner, in folders of its own.

    kfp deletes its workspace root after every run: it gets one that nobody else needs.
    """
    for variable in _THREADS:
        os.environ.setdefault(variable, str(os.cpu_count()))
    # Threads that wait give their core to others: spinning, they stall each other's work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    definition = components.load_component_from_text(tried_once(compiled_yaml(pipeline)))
    with tempfile.TemporaryDirectory(prefix="levelseq-kfp-") as scratch, _listening(log):
        local.init(
            local.SubprocessRunner(use_venv=False),
            pipeline_root=os.path.join(scratch, "root"),
            workspace_root=os.path.join(scratch, "workspace"),
        )
        definition(**arguments)


def tried_once(text: str) -> str:
    """The YAML without retries: here a second try would meet what the first one met."""
    pipeline, *platforms = yaml.safe_load_all(text)
    dags = [pipeline["root"], *pipeline["components"].values()]
    for dag in dags:
        for task in dag.get("dag", {}).get("tasks", {}).values():
            task.pop("retryPolicy", None)
    return yaml.safe_dump_all([pipeline, *platforms], sort_keys=True)


@contextlib.contextmanager
def _listening(log: io.StringIO) -> Iterator[None]:
    """Everything that kfp and the tasks print goes to the log; stage lines are shown."""
    listener = _Listener(log, is_for_reading())
    os.environ["LEVELSEQ_LOG"] = "json"
    with warnings.catch_warnings(), contextlib.redirect_stdout(listener):
        # kfp warns about every image without `python` in its name.
        warnings.simplefilter("ignore")
        yield


class _Listener(io.TextIOBase):
    def __init__(self, log: io.StringIO, for_reading: bool) -> None:
        self._log = log
        self._for_reading = for_reading
        self._line = ""

    def write(self, text: str) -> int:
        """Take what was printed, line by line."""
        self._log.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._show(line.strip())
        return len(text)

    def _show(self, line: str) -> None:
        if line.startswith('{"time"'):
            with contextlib.suppress(ValueError, KeyError):
                relay(json.loads(line), for_reading=self._for_reading)


def _failure(workspace: str, run: str, log: str) -> BaseException:
    """What to end with after a task has failed: its own error, or exit code 1 for a bug."""
    try:
        error: LevelseqError = from_json(read_json(join(run_folder(workspace, run), "error.json")))
    except BadAddress:
        print(_last_traceback(log), file=sys.stderr)
        return SystemExit(1)
    return error


def _last_traceback(log: str) -> str:
    """The last traceback of the log, or its last lines when a task died without one."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    starts = [i for i, line in enumerate(lines) if "Traceback (most recent call last)" in line]
    if not starts:
        return "\n".join(["a task ended without a word; the log ends so:", *lines[-20:]])
    tail = lines[starts[-1] :]
    ends = [i for i, line in enumerate(tail) if _KFP_LINE.match(line)]
    return tail[0].strip() + "\n" + textwrap.dedent("\n".join(tail[1 : ends[0] if ends else None]))
