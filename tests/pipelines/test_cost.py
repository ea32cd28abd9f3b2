"""A run's cost counts the tasks' processes, which have ended when it is told."""

import contextlib
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from levelseq.cost import Meter, costs_of, metered, total
from levelseq.store import join, open_store

_SECOND = """
import sys, time
with open(sys.argv[1], "wb") as out:
    out.write(bytes(5_000_000))
while time.process_time() < 1:
    pass
"""


def test_processor_time_and_bytes_of_ended_children_are_counted(tmp_path):
    meter, started = Meter(), time.process_time()
    subprocess.run([sys.executable, "-c", _SECOND, str(tmp_path / "x")], check=True)
    own = time.process_time() - started
    cost = meter.as_json()
    # A second of the child and what its end took; this process waited.
    assert 1 <= cost["cpu_hours"] * 3600 - own + 0.01 < 2
    assert 5_000_000 <= cost["bytes_written"] < 6_000_000


def test_nothing_done_costs_nothing():
    cost = Meter().as_json()
    assert cost["cpu_hours"] * 3600 < 0.1
    assert cost["bytes_written"] < 1000


def test_a_gpu_counts_for_as_long_as_a_task_has_held_it(monkeypatch):
    used = SimpleNamespace(is_initialized=lambda: True, device_count=lambda: 2)
    idle = SimpleNamespace(is_initialized=lambda: False, device_count=lambda: 2)
    for cuda, gpus in ((idle, 0), (used, 2)):
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
        meter = Meter(started=time.monotonic() - 1800)
        assert meter.as_json()["gpu_hours"] == pytest.approx(gpus * 0.5, abs=0.001)


def test_each_try_of_a_task_adds_to_its_cost(tmp_path):
    workspace = str(tmp_path)
    with contextlib.suppress(ValueError), metered(workspace, "r1", "train"):
        time.sleep(0.2)
        raise ValueError("preempted")
    for task in ("train", "map"):
        with metered(workspace, "r1", task):
            time.sleep(0.2)
    costs = costs_of(open_store(join(workspace, "runs", "r1")))
    assert list(costs) == ["train", "map"]
    assert [cost["tries"] for cost in costs.values()] == [2, 1]
    assert 0.4 <= costs["train"]["seconds"] < 2
    whole = sum(cost["seconds"] for cost in costs.values())
    assert total(costs)["seconds"] == pytest.approx(whole)


def test_a_cost_that_cannot_be_kept_fails_nothing(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with metered(str(tmp_path), "r1", "train"):
        done = True
    assert done
