"""`make bench-qa`, drift: simulated later runs that drifted, and what recalibration makes of them.

Each run goes through the steps as a user's would: mapped by the champion, judged, recalibrated.
What each rung costs is measured apart, by making its model alone, whether it was needed or not.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from drift import NAME, judged
from studies import Built, built, ingested, simulated

from levelseq.errors import BadInput
from levelseq.models.adapt import adapt_model
from levelseq.models.fine_tune import fine_tune_model
from levelseq.models.mapping import map_cohort
from levelseq.models.saving import read_model_json
from levelseq.models.train_anew import train_anew_model
from levelseq.normalize.params import NormalizeParams
from levelseq.recalibrate import step as recalibrate
from levelseq.recalibrate.params import RecalibrateParams
from levelseq.simulate import study
from levelseq.simulate.params import SimulateParams
from levelseq.store import join, read_json
from levelseq.validate import step as validate
from levelseq.validate.params import ValidateParams

CHAMPIONS = 4
STRENGTHS = (0.5, 1.0, 2.0)
# The default study; the last of the champions is of one that is small enough for the classical way.
SIZE: dict[str, int] = {}
CLASSICAL = {"cells": 190, "genes": 800, "types": 2}
RUNGS = ("re-fit", "adapters", "fine-tuning", "training")


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock and of the processor that a model took to make."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Drift:
    """One drifted run: what was decided, and by which rung.

    Attributes:
        strength: of the drift, as the simulator takes it.
        seen: whether validation asked for recalibration, or the champion would not map the run.
        fixed: whether a challenger was promoted, its data released and its drift gates not failing.
        rung: the one that was promoted, or nothing.
        tried: all that were made or ruled out, as the log has them.
        costs: of each rung, for the first run of each study.
    """

    strength: float
    seen: bool
    fixed: bool
    rung: str
    tried: list[dict[str, Any]]
    costs: dict[str, Cost]


def drift_part(n: int) -> dict[str, bool | None]:
    """Judge n drifted runs of some studies; a line each, then the table; gives the bars."""
    print("study  class           strength  seen  fixed  by           not by")
    found: list[Drift] = []
    each = -(-n // (CHAMPIONS + 1))
    for number in range(CHAMPIONS + 1):
        size = CLASSICAL if number == CHAMPIONS else SIZE
        todo = min(each, n - len(found))
        if todo <= 0:
            break
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            champion = built(place, simulated(place, seed=number, **size), seed=number)
            base = judged(place, champion.cohort, champion.model, "base")
            kind = str(read_model_json(champion.model)["class"])
            if base["model_decision"] != "promote":
                print(f"{number:5d}  {kind:14s}  is no champion: {base['reasons'][0]}", flush=True)
                continue
            for k in range(todo):
                found.append(_drifted(champion, size, number, k, kind))
    return _summed(found)


def _drifted(champion: Built, size: dict[str, int], seed: int, k: int, kind: str) -> Drift:
    strength = STRENGTHS[(seed + k) % len(STRENGTHS)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "w"
        shutil.copytree(champion.workspace, copy)
        w, model = str(copy), join(str(copy), "models", Path(champion.model).name)
        params = SimulateParams.checked(
            seed=seed, later=1, later_seed=100 + k, drift=strength, **size
        )
        study.write(params, str(copy / "later"))
        cohort = ingested(copy, str(copy / "later/later/1/deposits.csv"))
        try:
            levelled = map_cohort(NormalizeParams(), cohort, model, w)
        except BadInput as error:
            print(
                f"{seed:5d}  {kind:14s}  {strength:8.1f}  not mapped: {error.message}", flush=True
            )
            return Drift(strength, True, False, "", [], {})
        first = validate.run(ValidateParams(), cohort, levelled, model, w, NAME, f"later-{k}")
        seen = read_json(first)["model_decision"] == "recalibrate"
        costs = _costs(model, cohort, w, kind) if seen and k == 0 else {}
        final = read_json(recalibrate.run(RecalibrateParams(), first, w, NAME))
    tried = final.get("tried", [])
    gates = [g for g in final["gates"] if g["name"].startswith("drift.")]
    fixed = (
        seen
        and final["model_decision"] == "promote"
        and final["data"] == "release"
        and all(gate["outcome"] != "fail" for gate in gates)
    )
    rung = tried[-1]["rung"] if fixed else ""
    others = "; ".join(f"{t['rung']}: {', '.join(t['because'])}" for t in tried if t["because"])
    print(
        f"{seed:5d}  {kind:14s}  {strength:8.1f}  {'yes' if seen else 'no':4s}  "
        f"{'yes' if fixed else 'no':5s}  {rung:11s}  {others}",
        flush=True,
    )
    return Drift(strength, seen, fixed, rung, tried, costs)


def _costs(model: str, cohort: str, workspace: str, kind: str) -> dict[str, Cost]:
    """Each rung's model made alone; the ladder finds them there."""
    classical = kind == "Classical"
    ways: dict[str, Callable[[], object]] = {
        "re-fit": lambda: adapt_model(model, cohort, workspace, genes=classical),
        "adapters": lambda: adapt_model(model, cohort, workspace),
        "fine-tuning": lambda: fine_tune_model(model, cohort, workspace),
        "training": lambda: train_anew_model(model, cohort, workspace),
    }
    if classical:
        ways = {name: ways[name] for name in ("re-fit", "training")}
    costs = {}
    for name, make in ways.items():
        wall, cpu = time.perf_counter(), time.process_time()
        make()
        costs[name] = Cost(time.perf_counter() - wall, time.process_time() - cpu)
    return costs


def _summed(found: list[Drift]) -> dict[str, bool | None]:
    seen = [drift for drift in found if drift.seen]
    fixed = [drift for drift in found if drift.fixed]
    print("\nstrength  drifts  seen  fixed")
    for strength in STRENGTHS:
        own = [drift for drift in found if drift.strength == strength]
        print(
            f"{strength:8.1f}  {len(own):6d}  {sum(d.seen for d in own):4d}  "
            f"{sum(d.fixed for d in own):5d}"
        )
    by, made = (
        Counter(d.rung for d in fixed),
        Counter(t["rung"] for d in seen for t in d.tried if t["model"]),
    )
    print("\nrung         made  promoted  seconds  processor  of training's")
    timed = [d.costs for d in seen if d.costs]
    for rung in RUNGS:
        costs = [own[rung] for own in timed if rung in own]
        if costs:
            whole = np.mean([own["training"].cpu for own in timed if rung in own])
            wall, cpu = (float(np.mean([getattr(c, t) for c in costs])) for t in ("wall", "cpu"))
            print(
                f"{rung:11s}  {made[rung]:4d}  {by[rung]:8d}  {wall:7.1f}  {cpu:9.1f}  "
                f"{cpu / whole:12.1%}"
            )
    share = len(fixed) / len(seen) if seen else float("nan")
    print(
        f"\nof {len(found)} drifts {len(seen)} were seen, {len(fixed)} of these fixed ({share:.0%})"
    )
    return {
        f"recalibration: {len(fixed)} of {len(seen)} seen drifts fixed (bar .9)": share >= 0.9
        if seen
        else None
    }
