"""`kill -9` at random times: the run that is started again ends as one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from levelseq.store import Store, open_store

KILLS = 10
# Files that tell of times: no promise of equal bytes.
OF_TIMES = ("run.json", "report.html", "log.txt")


def start(workspace: Path) -> subprocess.Popen[bytes]:
    """`levelseq run` of the default study, in a process group of its own."""
    command = [sys.executable, "-m", "levelseq_pipelines.cli", "run", "--workspace", str(workspace)]
    return subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def killed_after(workspace: Path, seconds: float) -> bool:
    """Start a run and kill its process group; whether there was anything left to kill."""
    process = start(workspace)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def content(store: Store) -> dict[str, bytes]:
    """What a reader finds, decisions without their time and what follows from it."""
    found = {}
    for path in store.list():
        if path.rsplit("/", 1)[-1] in OF_TIMES or "/cost/" in path:
            continue
        found[path] = store.get(path)
        if path.startswith("registry/") and "/log/" in path:
            entry = json.loads(found[path])
            found[path] = json.dumps({**entry, "time": "", "previous": ""}).encode()
    return found


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_with_the_same_bytes(tmp_path: Path) -> None:
    assert start(tmp_path / "whole").wait() == 0
    # Deposits' addresses are part of the manifests, so both runs read the same ones.
    rng = random.Random(2026)
    moments = [rng.uniform(2, 60) for _ in range(KILLS)]
    place = tmp_path / "whole"
    reference = content(open_store(str(place)))
    place.rename(tmp_path / "reference")
    kills = sum(killed_after(place, moment) for moment in moments)
    assert kills >= KILLS // 2
    assert start(place).wait() == 0
    found = content(open_store(str(place)))
    assert found.keys() == reference.keys()
    different = [path for path in reference if found[path] != reference[path]]
    assert different == []
    assert not any(path.startswith("checkpoints/") for path in found)
