"""Two training processes are killed in several ways: the model ends as if they had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from levelseq.store import Store, open_store

from .conftest import Trained
from .torchrun import start


def kill_all(running: subprocess.Popen[str]) -> None:
    # torchrun gives each process a session of its own.
    for pid in [running.pid, *children(running.pid)]:
        os.kill(pid, signal.SIGKILL)


def kill_one(running: subprocess.Popen[str]) -> None:
    os.kill(children(running.pid)[-1], signal.SIGKILL)


def tell(running: subprocess.Popen[str]) -> None:
    os.kill(running.pid, signal.SIGTERM)


def tell_one(running: subprocess.Popen[str]) -> None:
    os.kill(children(running.pid)[-1], signal.SIGTERM)


def children(pid: int) -> list[int]:
    return sorted(
        int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    )


def latest(store: Store) -> int:
    """The step of the newest whole checkpoint."""
    names = [path for path in store.list("checkpoints") if path.endswith("progress.json")]
    return int(names[-1].split("/")[-2]) if names else 0


def model(store: Store) -> dict[str, bytes]:
    return {path: store.get(path) for path in store.list("models")}


@pytest.mark.slow
def test_two_processes_killed_in_between_write_the_same_bytes(
    trained: Trained, tmp_path: Path
) -> None:
    running = start(trained, tmp_path / "whole")
    said, log = running.communicate(timeout=300)
    assert running.returncode == 0, log
    store = open_store(str(tmp_path / "killed"))
    kills: list[tuple[Callable[[subprocess.Popen[str]], None], int]]
    kills = [(kill_all, 30), (tell, 100), (kill_one, 170), (tell_one, 250)]
    for kill, step in kills:
        running = start(trained, tmp_path / "killed", checkpoint_seconds=0)
        while latest(store) < step and running.poll() is None:
            time.sleep(0.01)
        kill(running)
        log = running.communicate(timeout=120)[1]
        assert running.returncode != 0
        assert step <= latest(store) < 400
        assert model(store) == {}
        if kill in (tell, tell_one):
            assert "training was told to stop at step" in log
    running = start(trained, tmp_path / "killed", checkpoint_seconds=0)
    said, log = running.communicate(timeout=300)
    assert running.returncode == 0, log
    assert model(store) == model(open_store(str(tmp_path / "whole")))
    again = start(trained, tmp_path / "killed")
    assert again.communicate(timeout=300)[0] == said
    assert again.returncode == 0
