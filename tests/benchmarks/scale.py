"""`make bench-scale`: size factors, vst() and ComBat of 100 to 100,000 samples from shards.

usage: scale.py [--samples 100 1000 10000 100000] [--genes 20000] [--through step|functions]
               [--no-write] [--folder FOLDER] [--keep]

Bulk-like counts, three quarters not zero, in a cohort as ingest writes it; made where they are not
in the folder, deleted at the end but for --keep. Each size runs in a process of its own. 100,000
samples need 25 GB of disk (8 GB less with --no-write).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bars import end_with
from scale_cohort import write_cohort

COLUMNS = ("reading", "computing", "writing")
LIMIT_S, LIMIT_GB, LIMIT_EXPONENT = 600, 4.0, 1.05
WARM_UP = 100


def main() -> None:
    """Make the cohorts, run, print the curve and the bars."""
    given = arguments()
    folder = Path(given.folder or Path(tempfile.gettempdir()) / "levelseq-bench-scale")
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[int, dict[str, Any]] = {}
    print(f"{'samples':>8s}  {'reading':>9s} {'computing':>9s} {'writing':>9s}  passes  peak GB")
    try:
        warm_up = write_cohort(folder, WARM_UP, given.genes)
        for n in sorted(given.samples):
            found[n] = measured(n, warm_up, folder, given)
            parts = " ".join(f"{found[n][column]:7.1f} s" for column in COLUMNS)
            print(f"{n:8d}  {parts}  {found[n]['passes']:6d}  {found[n]['peak_gb']:8.2f}")
            stages = {k[6:]: v for k, v in found[n].items() if k.startswith("stage ")}
            if stages:
                print(f"{'':8s}  " + ", ".join(f"{k} {v:.1f} s" for k, v in stages.items()))
            sys.stdout.flush()
    finally:
        if not given.keep:
            shutil.rmtree(folder)
    end_with(bars(found))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--through", choices=["step", "functions"], default="step")
    parser.add_argument("--no-write", action="store_true", help="compute the values and drop them")
    parser.add_argument("--folder", help="where the cohorts lie")
    parser.add_argument("--keep", action="store_true", help="leave the cohorts there")
    return parser.parse_args()


def measured(n: int, warm_up: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One size: its cohort made, and run in a process of its own."""
    start = time.perf_counter()
    cohort = write_cohort(folder, n, given.genes)
    made = time.perf_counter() - start
    if made > 10:
        print(f"{'':8s}  (cohort of {n} made in {made:.0f} s)", flush=True)
    out = folder / f"values-{n}"
    script = Path(__file__).parent / "scale_run.py"
    place = "-" if given.no_write else str(out)
    command = [sys.executable, str(script), cohort, warm_up, place, given.through]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    shutil.rmtree(out, ignore_errors=True)
    if done.returncode:
        sys.exit(f"{n} samples: ended with {done.returncode}")
    content: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return content


def exponent(found: dict[int, dict[str, Any]], least: int) -> float | None:
    """Slope of log computing seconds against log samples, from `least` samples on."""
    sizes = [n for n in found if n >= least]
    if len(sizes) < 2:
        return None
    seconds = [found[n]["computing"] for n in sizes]
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def bars(found: dict[int, dict[str, Any]]) -> dict[str, bool | None]:
    """Those of the issue; the curve's exponent is of computing."""
    largest = found.get(100_000)
    overall, upper = exponent(found, 0), exponent(found, 1000)
    if upper is not None:
        print(f"exponent of computing from 1,000 samples: {upper:.3f}")
    what = "" if overall is None else f": {overall:.3f}"
    asked: dict[str, bool | None] = {
        f"exponent over all sizes at most {LIMIT_EXPONENT}{what}": None
        if overall is None
        else overall <= LIMIT_EXPONENT
    }
    for limit, column, unit in ((LIMIT_S, "computing", "s"), (LIMIT_GB, "peak_gb", "GB")):
        value = largest[column] if largest else None
        said = "" if value is None else f": {value:.3g} {unit}"
        text = f"100,000 samples: {column.replace('_gb', '')} within {limit:g} {unit}{said}"
        asked[text] = None if value is None else value <= limit
    return asked


if __name__ == "__main__":
    main()
