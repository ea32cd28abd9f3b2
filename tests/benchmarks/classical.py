"""`make bench-classical`: speed and exactness beside R, Python and Rust packages, in one run.

usage: classical.py [--samples 2000] [--genes 20000] [--methods NAME ...] [--who NAME ...]
                    [--limit SECONDS] [--folder FOLDER]

One data set, one process for each method and package, one after another. Timed is the call on
data in memory: starting, loading and compiling are not. Median of three calls after a first one;
a first call of 30 s or more is the only one. The full VST and ComBat-seq run on the first quarter
of the samples. "Exact" is taken from this run: |a-b| <= 1e-9 max(1, |b|) to R's answer, equal
integers for ComBat-seq.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bars import end_with
from classical_data import write

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS_PYTHON = ROOT / ".venv-peers/bin/python"
EXACT = 1e-9


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        label: in the table.
        peers: packages that have it, beside R.
        quarter: on the first quarter of the samples.
        tolerance: within which ours must be of R; what follows from dispersions is as near as
            R's own search stops.
        times_r, times_exact, times_pydeseq2: the bars; 0: none.
    """

    label: str
    peers: tuple[str, ...]
    quarter: bool = False
    tolerance: float = EXACT
    times_r: float = 0
    times_exact: float = 0
    times_pydeseq2: float = 0


METHODS = {
    "size_factors": Method("size factors", ("pydeseq2", "inmoose"), times_r=10, times_exact=2),
    "tmm": Method("TMM", ("edgepython", "rnanorm"), times_r=10, times_exact=2),
    "vst": Method(
        "vst(), 1,000 genes", ("pydeseq2", "inmoose"), tolerance=1e-8, times_r=10, times_exact=2
    ),
    "combat": Method("ComBat", ("combaters", "inmoose"), times_r=10, times_exact=2),
    "vst_full": Method(
        "VST, all genes", ("pydeseq2", "inmoose"), True, tolerance=1e-8, times_pydeseq2=20
    ),
    "combat_seq": Method("ComBat-seq", ("inmoose",), True, tolerance=0, times_r=20),
    "combat_seq_group": Method(
        "ComBat-seq, condition kept", ("inmoose",), True, tolerance=0, times_r=20
    ),
}


@dataclass(frozen=True)
class Result:
    """One package's answer; without seconds it has none, and `said` says why."""

    who: str
    seconds: float | None
    said: str = ""
    difference: float = float("nan")
    unequal: int = 0

    def within(self, tolerance: float) -> bool:
        """Whether the answer is R's."""
        return self.seconds is not None and self.difference <= tolerance

    def text(self) -> str:
        """Name, seconds and difference."""
        if self.seconds is None:
            return f"{self.who}: {self.said}"
        wrong = "no number" if np.isnan(self.difference) else f"{self.difference:.1g}"
        if self.unequal:
            wrong += f", {self.unequal} unequal"
        return f"{self.who} {self.seconds:.3g} s, {wrong}"


def main() -> None:
    """Make the data, run everybody, print the table and the bars."""
    given = arguments()
    folder = Path(tempfile.mkdtemp(prefix="bench-classical-", dir=given.folder))
    try:
        start = time.perf_counter()
        positive = write(folder, given.samples, given.genes)
        print(
            f"{given.samples} samples x {given.genes} genes, {positive:.0%} of the counts not "
            f"zero, 4 batches, 2 conditions; made in {time.perf_counter() - start:.0f} s; "
            f"{len(os.sched_getaffinity(0))} cores",
            flush=True,
        )
        rows = {name: row(name, folder, given) for name in given.methods}
    finally:
        shutil.rmtree(folder)
    print_table(rows, given)
    full = given.samples == 2000 and given.genes == 20_000
    print("\nbars" if full else "\nbars (they are meant for 2000 samples x 20000 genes)")
    end_with({text: met for name, row in rows.items() for text, met in bars_of(name, row)})


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    everybody = ["levelseq", "R", *sorted({p for m in METHODS.values() for p in m.peers})]
    parser.add_argument("--who", nargs="+", choices=everybody, default=everybody)
    parser.add_argument("--limit", type=float, default=1800, help="seconds a worker may take")
    parser.add_argument("--folder", help="where the data lie for the while")
    return parser.parse_args()


def row(name: str, folder: Path, given: argparse.Namespace) -> dict[str, Result]:
    """The answers of everybody who has the method, R's first."""
    method = METHODS[name]
    n = given.samples // 4 if method.quarter else given.samples
    theirs: np.ndarray | None = None
    found = {}
    for who in ("R", "levelseq", *method.peers):
        if who not in given.who:
            continue
        result = run(who, name, folder, n, given.limit)
        path = folder / f"{who}-{name}.f64"
        if result.seconds is not None:
            answer = np.fromfile(path)
            if who == "R":
                theirs, result = answer, Result(who, result.seconds, "", 0.0)
            elif theirs is not None:
                result = compared(result, answer, theirs)
        path.unlink(missing_ok=True)
        found[who] = result
        print(f"  {METHODS[name].label}, {n} samples: {result.text()}", flush=True)
    return found


def run(who: str, name: str, folder: Path, n: int, limit: float) -> Result:
    """Run one worker to its end."""
    scripts = HERE / "classical_peers"
    program = {
        "R": ["Rscript", str(scripts / "peers.R")],
        "levelseq": [sys.executable, str(scripts / "ours.py")],
    }.get(who, [str(PEERS_PYTHON), str(scripts / "peers.py")])
    if shutil.which(program[0]) is None:
        return Result(who, None, f"no {program[0]}")
    command = [*program, who, name, str(folder), str(n)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return Result(who, None, f"more than {limit:.0f} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return Result(who, None, lines[-1][:160])
    seconds = json.loads(done.stdout.strip().splitlines()[-1])["seconds"]
    return Result(who, float(np.median(seconds[1:] or seconds)))


def compared(result: Result, answer: np.ndarray, theirs: np.ndarray) -> Result:
    """The largest |a-b| / max(1, |b|), NaN where the answer has one, and how many differ."""
    if answer.shape != theirs.shape:
        return Result(result.who, result.seconds, "", float("nan"))
    difference = np.abs(answer - theirs)
    unequal = int((difference > 0).sum()) if (theirs == np.round(theirs)).all() else 0
    difference /= np.maximum(1, np.abs(theirs))
    return Result(result.who, result.seconds, "", float(difference.max()), unequal)


def fastest_exact(name: str, found: dict[str, Result]) -> Result | None:
    """The fastest peer whose answer is R's, by the tolerance that ours is held to."""
    peers = [found[p] for p in METHODS[name].peers if p in found]
    exact = [peer for peer in peers if peer.within(METHODS[name].tolerance)]
    return min(exact, key=lambda result: result.seconds or 0, default=None)


def print_table(rows: dict[str, dict[str, Result]], given: argparse.Namespace) -> None:
    """One line a method, then seconds and difference of each peer."""
    print(
        f"\n{'method':28s}{'samples':>8s}{'levelseq':>10s}{'R':>10s}{'R/ours':>8s}  "
        f"{'fastest exact peer':22s}{'peer/ours':>9s}  largest difference to R, ours",
    )
    for name, found in rows.items():
        method = METHODS[name]
        n = given.samples // 4 if method.quarter else given.samples
        ours, peer = found.get("levelseq"), fastest_exact(name, found)
        exact = f"{peer.who} {peer.seconds:.3g} s" if peer else "none"
        said = "not run" if ours is None else ours.said[:60] or f"{ours.difference:.1g}"
        if ours and ours.unequal:
            said += f", {ours.unequal} integers differ"
        print(
            f"{method.label:28s}{n:8d}{seconds(ours):>10s}{seconds(found.get('R')):>10s}"
            f"{times(found.get('R'), ours):>8s}  {exact:22s}{times(peer, ours):>9s}  {said}"
        )
    print("\npeers: seconds, largest difference to R (1 = 100 % of a value above 1)")
    for name, found in rows.items():
        peers = [found[p].text() for p in METHODS[name].peers if p in found]
        print(f"  {METHODS[name].label}: {'; '.join(peers) or 'none run'}")


def seconds(result: Result | None) -> str:
    """Seconds, or a dash."""
    return "-" if result is None or result.seconds is None else f"{result.seconds:.3g} s"


def ratio(other: Result | None, ours: Result | None) -> float | None:
    """How many times longer another takes."""
    if other is None or ours is None or other.seconds is None or ours.seconds is None:
        return None
    return other.seconds / ours.seconds


def times(other: Result | None, ours: Result | None) -> str:
    """The ratio as text."""
    value = ratio(other, ours)
    return "-" if value is None else f"{value:.1f}x"


def bars_of(name: str, found: dict[str, Result]) -> list[tuple[str, bool | None]]:
    """The method's bars, each with whether it is met."""
    method, ours = METHODS[name], found.get("levelseq")
    bars: list[tuple[str, bool | None]] = []
    if ours is not None:
        what = "equal integers" if method.tolerance == 0 else f"within {method.tolerance:g}"
        measured = ours.seconds is not None and "R" in found and found["R"].seconds is not None
        met = ours.within(method.tolerance) if measured else None
        bars.append((f"{method.label}: R's answer, {what}", met))
    exact = fastest_exact(name, found)
    asked = [
        (method.times_r, "R", found.get("R")),
        (method.times_exact, f"the fastest exact peer ({exact.who if exact else 'none'})", exact),
        (method.times_pydeseq2, "pydeseq2", found.get("pydeseq2")),
    ]
    for least, whom, other in asked:
        if least:
            value = ratio(other, ours)
            text = f"{method.label}: at least {least:g}x {whom}: {times(other, ours)}"
            bars.append((text, None if value is None else value >= least))
    return bars


if __name__ == "__main__":
    main()
