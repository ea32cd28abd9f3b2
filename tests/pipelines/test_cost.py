"""A run's cost counts the tasks' processes, which have ended when it is told."""

import subprocess
import sys
import time

from levelseq_pipelines.cost import Meter

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
