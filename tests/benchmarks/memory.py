"""`make bench-memory`: peak memory of normalizing, training and mapping, for ever more cells.

usage: memory.py [--cells 10000 100000 1000000] [--genes 2000] [--folder FOLDER]

The cells of bench-train (91 % zeros, 8 kinds, 4 batches), in shards as ingest writes them; each
step with its defaults, in a process of its own. Memory is what a process has for itself: pages of
files that it has read, which a system takes back when it wants them, are not counted. It is set
beside what a pod of the compiled pipelines asks for. A million cells need 4 GB of disk. Mapping is
measured without and, up to 100,000 cells, with --interval, which levels each cell 40 times.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from bars import end_with
from scale_cohort import gene_table, put_cohort
from train import simulated

from levelseq.cohort import SHARD_OBSERVATIONS
from levelseq.ingest.forecast import forecast, requests
from levelseq.store import open_store

POOL = 20_000
STEPS = ("normalize", "train", "map", "intervals")
MORE = 1000
"""Bytes that a cell more may take: less than its counts."""
FILLED = 100_000
"""Cells from which on blocks and samples of cells, whose size is bounded, are at their largest."""
_EVERY_S = 0.02
_GIB = 1 << 30


def main() -> None:
    """Make the cohorts, run the steps, print the table and the bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--folder", help="where the cohorts are kept; else they are deleted")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return print(json.dumps(peak_of(*given.one)))
    place = tempfile.mkdtemp(prefix="levelseq-bench-memory-")
    folder, workspace = Path(given.folder or place), Path(place) / "workspace"
    found: dict[int, dict[str, float]] = {}
    print(f"{'cells':>9s}" + "".join(f"{step:>20s}" for step in STEPS) + "   a pod asks for")
    try:
        for n_cells in sorted(given.cells):
            cohort, n_bytes = written(folder, n_cells, given.genes)
            asked = requests(forecast([("h5ad", n_bytes, n_cells)]))["memory"]
            found[n_cells], line = {"pod": float(asked.removesuffix("Gi"))}, f"{n_cells:9d}"
            for step in STEPS if n_cells <= FILLED else STEPS[:-1]:
                peak = run(step, cohort, workspace)
                found[n_cells][step] = peak["gib"]
                line += f"{peak['gib']:9.2f} GiB {peak['seconds']:4.0f} s"
            print(f"{line}   {asked}", flush=True)
    finally:
        shutil.rmtree(place)
    end_with(bars(found))


def bars(found: dict[int, dict[str, float]]) -> dict[str, bool | None]:
    """Flat, and within what a pod asks for."""
    largest = max(found)
    most = max(found[largest][step] for step in STEPS if step in found[largest])
    asked: dict[str, bool | None] = {
        f"{largest} cells: {most:.2f} GiB within what a pod asks for, {found[largest]['pod']:g}": (
            most <= found[largest]["pod"]
        )
    }
    fewer = max((n for n in found if FILLED <= n < largest), default=0)
    more = (found[largest]["train"] - found[fewer]["train"]) / (largest - fewer) if fewer else None
    said = "" if more is None else f": {more * _GIB:.0f}"
    asked[f"training takes at most {MORE} bytes for each cell more{said}"] = (
        None if more is None else more * _GIB <= MORE
    )
    return asked


def written(folder: Path, n_cells: int, n_genes: int) -> tuple[str, int]:
    """A cohort's address, and the bytes of its shards.

    Each cell is one of 20,000 simulated ones at half to all of its depth.
    """
    address = folder / f"{n_cells}x{n_genes}"
    store = open_store(str(address))
    if not store.exists("cohort.json"):
        roles = dict.fromkeys(("label", "donor", "condition"))
        put_cohort(store, address.name, _shards(n_cells, n_genes), ["site", "lab"], roles)
    return str(address), sum(file.stat().st_size for file in address.rglob("*") if file.is_file())


def _shards(n_cells: int, n_genes: int) -> Iterator[ad.AnnData]:
    pool, batch = simulated(POOL, n_genes)
    var = gene_table(n_genes)
    for start in range(0, n_cells, SHARD_OBSERVATIONS):
        random = np.random.default_rng([1, start])
        n = min(SHARD_OBSERVATIONS, n_cells - start)
        chosen = random.integers(POOL, size=n)
        counts: sp.csr_matrix = pool[chosen]
        depth = np.repeat(random.uniform(0.5, 1, n), np.diff(counts.indptr))
        counts.data = np.floor(counts.data * depth + random.random(counts.nnz))
        counts.eliminate_zeros()
        names = pd.Index([f"c{i}" for i in range(start, start + n)])
        site, lab = ([f"{k}{i}" for i in batch[chosen] // by] for k, by in (("s", 2), ("l", 1)))
        obs = pd.DataFrame({"site": pd.Categorical(site), "lab": pd.Categorical(lab)}, names)
        obs["n_counts"] = np.asarray(counts.sum(axis=1)).ravel()
        yield ad.AnnData(X=counts.astype(np.uint16), obs=obs, var=var)


def run(step: str, cohort: str, workspace: Path) -> dict[str, float]:
    """A step in a process of its own."""
    command = [sys.executable, __file__, "--one", step, cohort, str(workspace)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{step} of {cohort}: {done.stderr.strip()}")
    content: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return content


def peak_of(step: str, cohort: str, workspace: str) -> dict[str, float]:
    """The peak memory of this process in a step, and its seconds."""
    from levelseq.models.mapping import map_cohort
    from levelseq.normalize import step as normalize
    from levelseq.normalize.params import NormalizeParams
    from levelseq.train import step as train
    from levelseq.train.params import TrainParams

    def values() -> str:
        return normalize.run(NormalizeParams(), cohort, workspace)

    def model() -> str:
        return train.run(TrainParams(model_class="vae"), cohort, values(), workspace)

    def mapped() -> str:
        return map_cohort(NormalizeParams(), cohort, model(), workspace)

    def bounded() -> str:
        return map_cohort(NormalizeParams(interval=True), cohort, model(), workspace)

    # What an earlier step has written is found, not made again.
    steps: dict[str, Callable[[], Any]] = dict(zip(STEPS, (values, model, mapped, bounded)))
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_EVERY_S):
            peak = max(peak, own_bytes())

    watching, start = threading.Thread(target=watch), time.perf_counter()
    watching.start()
    try:
        steps[step]()
    finally:
        done.set()
        watching.join()
    return {"gib": max(peak, own_bytes()) / _GIB, "seconds": time.perf_counter() - start}


def own_bytes() -> int:
    """Of this process's memory, what is no file's."""
    status = Path("/proc/self/status").read_text().splitlines()
    kib = dict(line.split(":", 1) for line in status)
    return 1024 * sum(int(kib[name].split()[0]) for name in ("RssAnon", "RssShmem"))


if __name__ == "__main__":
    main()
