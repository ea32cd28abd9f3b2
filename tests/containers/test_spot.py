"""A spot node that goes away: SIGKILL at random moments, ten times in one run of `train`."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from engine import RESTRICTED, Engine

from levelseq.simulate import SimulateParams, study
from levelseq.store import join, open_store

pytestmark = pytest.mark.containers
KILLS = 10
STUDY = SimulateParams(cells=800, genes=400, types=4, tree="site=2,lab=2", condition_genes=40)
STEPS = 3000
RESUMED = "goes on from a checkpoint"
NAME = f"levelseq-spot-{os.getpid()}"
AWS = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


@dataclass(frozen=True)
class Task:
    """`levelseq train` in a container that may be started again and again."""

    engine: Engine
    image: str
    words: tuple[str, ...]
    workspace: str
    log: Path
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start the container; its log begins anew."""
        given = [f"--env={key}={os.environ[key]}" for key in AWS] + ["--env=OMP_NUM_THREADS=1"]
        flags = ("run", f"--name={name}", *RESTRICTED, *given)
        process = self.engine.start(*flags, self.image, "levelseq", *self.words, log=self.log)
        self.started[name] = process
        return process

    def remove(self) -> None:
        """Remove what a failed test has left running."""
        for name, process in self.started.items():
            if process.poll() is None:
                self.engine("rm", "--force", name)
                process.wait(timeout=60)

    def resumed_at(self) -> int | None:
        """The step that the last start went on from; None when it did not come so far."""
        for line in self.log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and (told := json.loads(line)).get("message") == RESUMED:
                return int(told["steps"])
        return None

    def saved_step(self) -> int:
        """The newest whole checkpoint's step; 0 without one."""
        paths = open_store(join(self.workspace, "checkpoints")).list()
        return max((int(p.split("/")[1]) for p in paths if p.endswith("progress.json")), default=0)


@dataclass(frozen=True)
class Killed:
    """One kill: when, which step the killed start had gone on from, and what it left."""

    seconds: float
    resumed: int | None
    saved: int


@pytest.fixture
def task(engine: Engine, image: str, s3: str, tmp_path: Path) -> Iterator[Task]:
    """A training of about a minute, whose inputs are in the store."""
    workspace = join(s3, "w")
    sheet = study.write(STUDY, join(s3, "deposits"))
    words = ("ingest", "--deposits", sheet, "--workspace", workspace, "--batch", "site>lab")
    cohort = _written(engine, image, *words)
    words = ("normalize", "--cohort", cohort, "--workspace", workspace, "--method", "log1p_cpm")
    normalized = _written(engine, image, *words)
    words = (
        *("train", "--cohort", cohort, "--normalized", normalized, "--workspace", workspace),
        *("--steps", str(STEPS), "--patience", str(STEPS), "--checkpoint-seconds", "0.5"),
    )
    training = Task(engine, image, words, workspace, tmp_path / "train.log")
    yield training
    training.remove()


def _written(engine: Engine, image: str, *words: str) -> str:
    given = [f"--env={key}={os.environ[key]}" for key in AWS]
    done = engine("run", *RESTRICTED, *given, image, "levelseq", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].rpartition("/")[0]


def uninterrupted(task: Task) -> tuple[float, float]:
    """Train to the end: the seconds until the first checkpoint, and until the model."""
    started, first = time.monotonic(), 0.0
    process = task.start(f"{NAME}-whole")
    while process.poll() is None:
        time.sleep(0.2)
        if not first and task.saved_step():
            first = time.monotonic() - started
    assert process.returncode == 0, task.log.read_text()
    assert first, "the training ended before its first checkpoint"
    return first, time.monotonic() - started


def killed(task: Task, number: int, early: float | None, late: float) -> Killed:
    """Start the container and kill it without a word.

    Args:
        early: seconds after the start; None: once it has saved a checkpoint of its own.
        late: seconds more.
    """
    name, before = f"{NAME}-{number}", task.saved_step()
    started = time.monotonic()
    process = task.start(name)
    if early is not None:
        time.sleep(early)
    else:
        while process.poll() is None and task.saved_step() == before:
            time.sleep(0.05)
    time.sleep(late)
    assert process.poll() is None, task.log.read_text()
    assert task.engine("kill", "--signal=KILL", name).returncode == 0, task.log.read_text()
    seconds = time.monotonic() - started
    assert process.wait(timeout=60) == 137
    return Killed(seconds, task.resumed_at(), task.saved_step())


def taken(workspace: str) -> dict[str, bytes]:
    """The models' bytes, which are then removed."""
    store = open_store(join(workspace, "models"))
    content = {path: store.get(path) for path in store.list()}
    store.delete_folder("")
    return content


def show(kills: list[Killed], last: int | None) -> None:
    """Print the kills, and the start that was left alone."""
    print(f"\n{'kill':>4}  {'after, s':>8}  {'resumed at step':>15}  {'left at step':>12}")
    for number, kill in enumerate(kills, 1):
        resumed = "not so far" if kill.resumed is None else str(kill.resumed)
        print(f"{number:>4}  {kill.seconds:>8.1f}  {resumed:>15}  {kill.saved:>12}")
    print(f"{'end':>4}  {'':>8}  {last or 0:>15}  {STEPS:>12}")


def test_a_training_killed_ten_times_ends_with_the_bytes_of_one_left_alone(task: Task) -> None:
    first, whole = uninterrupted(task)
    reference = taken(task.workspace)
    assert task.saved_step() == 0
    # Three fall while the container starts, seven while it trains: ten fit in one run.
    rng = random.Random(2026)
    during_start = [True] * 3 + [False] * (KILLS - 3)
    rng.shuffle(during_start)
    kills = []
    for number, starting in enumerate(during_start, 1):
        early = rng.uniform(0.3, 0.9) * first if starting else None
        late = 0.0 if starting else rng.uniform(0, (whole - first) / 20)
        kills.append(killed(task, number, early, late))
    process = task.start(f"{NAME}-end")
    assert process.wait(timeout=600) == 0, task.log.read_text()
    show(kills, task.resumed_at())
    steps = [kill.saved for kill in kills]
    assert steps == sorted(steps)
    assert len(set(steps)) >= 7
    assert task.resumed_at() == steps[-1]
    found = taken(task.workspace)
    assert found.keys() == reference.keys()
    assert [path for path in reference if found[path] != reference[path]] == []
    assert task.saved_step() == 0
