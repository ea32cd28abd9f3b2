"""`make bench-fanout`: what splitting the work on shards costs and gains, part by part.

usage: fanout.py [--cells 200000] [--genes 2000] [--parts 4] [--method combat] [--folder FOLDER]

A cohort of shards is normalized and mapped through a model of other cells, in one task and in
parts with the task that follows them; each task runs alone, in a process of its own. Printed are
seconds, processor seconds and bytes read of each, and for the way in parts their sum and what a
cluster waits for: the longest part and the last task. That the bytes written are the same is
checked; the exit code is 1 where they are not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("LEVELSEQ_QUIET", "1")

from bars import end_with
from scale_cohort import write_cohort

from levelseq.cohort import WHOLE, Part, parts_of
from levelseq.cost import Meter
from levelseq.models.mapping import map_cohort
from levelseq.normalize.params import NormalizeParams
from levelseq.normalize.step import run as normalize
from levelseq.store import open_store
from levelseq.train.params import TrainParams
from levelseq.train.step import run as train

_TRAINED_ON = 4096


def main() -> None:
    """Make the cohorts and the model, run both ways, print the table."""
    given = arguments()
    if given.task:
        print(json.dumps(one_task(**json.loads(given.task))))
        return
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="levelseq-fanout-") as scratch:
        folder = Path(scratch)
        cohort = write_cohort(folder, given.cells, given.genes)
        other = write_cohort(folder, _TRAINED_ON, given.genes, seed=1)
        home = str(folder / "home")
        values = normalize(NormalizeParams(), other, home)
        chosen = TrainParams(model_class="vae", steps=50)
        model = train(chosen, other, values, home)
        shards = n_shards(cohort)
        print(f"{given.cells} cells x {given.genes} genes, {shards} shards, {given.parts} parts")
        print(f"{'':>28s}  {'seconds':>8s}  {'CPU s':>8s}  {'GB read':>8s}")
        same = {}
        for step in ("normalize", "map"):
            told = {"step": step, "cohort": cohort, "model": model, "method": given.method}
            same[f"{step}: the same bytes in parts"] = both_ways(told, folder, shards, given.parts)
    end_with(dict(same))


def both_ways(told: dict[str, Any], folder: Path, shards: int, most: int) -> bool:
    """Print one step's figures; whether both ways have written the same."""
    step = told["step"]
    whole, apart = (str(folder / f"{step}-{way}") for way in ("whole", "parts"))
    row(f"{step}, one task", in_a_process(told | {"workspace": whole}))
    names = parts_of(shards, most)
    parts = [in_a_process(told | {"workspace": apart, "part": name}) for name in names]
    for name, cost in zip(names, parts):
        row(f"part {name}", cost)
    last = in_a_process(told | {"workspace": apart})
    row("the task after them", last)
    row("sum", {figure: last[figure] + sum(p[figure] for p in parts) for figure in last})
    longest = max(parts, key=lambda cost: cost["seconds"])
    print(f"{'longest part and last task':>28s}  {longest['seconds'] + last['seconds']:8.1f}")
    return written(whole) == written(apart)


def row(name: str, cost: dict[str, float]) -> None:
    """One line of the table."""
    seconds, cpu, read = cost["seconds"], cost["cpu_hours"] * 3600, cost["bytes_read"] / 1e9
    print(f"{name:>28s}  {seconds:8.1f}  {cpu:8.1f}  {read:8.2f}", flush=True)


def in_a_process(told: dict[str, Any]) -> dict[str, float]:
    """The cost of one task in a process of its own."""
    command = [sys.executable, __file__, "--task", json.dumps(told)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def one_task(
    step: str, cohort: str, model: str, method: str, workspace: str, part: str = ""
) -> dict[str, Any]:
    """Run one task, libraries loaded; its cost."""
    own = Part.read(part) if part else WHOLE
    meter = Meter()
    if step == "map":
        map_cohort(NormalizeParams(most_unsupported=1.0), cohort, model, workspace, own)
    else:
        normalize(NormalizeParams.checked(method=method), cohort, workspace, part=own)
    return meter.as_json()


def n_shards(cohort: str) -> int:
    """How many shards a cohort has."""
    return len(json.loads(open_store(cohort).get("cohort.json"))["shards"])


def written(workspace: str) -> dict[str, bytes]:
    """Every object of the values in a workspace."""
    store = open_store(workspace)
    return {path: store.get(path) for path in store.list("normalized")}


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--method", default="combat")
    parser.add_argument("--folder", default=None)
    parser.add_argument("--task", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
