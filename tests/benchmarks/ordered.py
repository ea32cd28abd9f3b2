"""`make bench-ordered`: dates along which batches drift, as a random walk or without their order.

usage: ordered.py [SEEDS]

Simulated studies of 3 sites with 8 dates each; what a batch does to a gene changes from one date to
the next. The last two dates of each site come later. Printed are the errors that `bench-nested`
prints: of the dates that were trained on, of the later ones before any of them was fitted, and
after adapting to 40 cells each. Beside them a study whose dates have effects of their own.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from nested import Way, measured
from studies import simulated, verdict_of

from levelseq.simulate import study
from levelseq.simulate.batches import Batch, draw_main

TREE, DATES, LATER = "site=3,run=8", 8, 2
CELLS = 3600
STEP_SD = 0.15
WAYS = {"random walk": Way("site>run", "run"), "no order": Way("site>run")}
STUDIES = {"drifting": True, "no drift": False}


def dated(*given: Any, drifting: bool, seed: int) -> list[Batch]:
    """A study's batches with dates for names, their effects those of a random walk or their own."""
    random = np.random.default_rng(seed)
    out: list[Batch] = []
    for number, batch in enumerate(draw_main(*given)):
        date = f"20{20 + batch.top}-{number % DATES + 1:02d}-15"
        effect_G = batch.effect_G
        if drifting and number % DATES:
            effect_G = out[-1].effect_G + random.normal(0, STEP_SD, len(effect_G))
        out.append(replace(batch, path=(*batch.path[:-1], date), effect_G=effect_G))
    return out


def sheets(place: Path, seed: int, drifting: bool) -> tuple[str, str]:
    """Sheets of the first dates' deposits and of the later ones'."""

    def drawn(*given: Any) -> list[Batch]:
        return dated(*given, drifting=drifting, seed=seed)

    with patch.object(study, "draw_main", drawn):
        whole = simulated(place, cells=CELLS, tree=TREE, seed=seed)
    table = pd.read_csv(whole)
    later = table.groupby("site").cumcount() >= DATES - LATER
    parts = []
    for name, rows in (("known", ~later), ("unseen", later)):
        parts.append(str(Path(whole).with_name(f"{name}.csv")))
        table[rows].to_csv(parts[-1], index=False)
    return parts[0], parts[1]


def main() -> None:
    """Print a line a study and way, then the bars."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    print("seed  study     way          known dates  later dates  adapted to 40 cells a date")
    for seed in range(seeds):
        for kind, drifting in STUDIES.items():
            with tempfile.TemporaryDirectory() as folder:
                known, unseen = sheets(Path(folder), seed, drifting)
                for name, way in WAYS.items():
                    found = measured(Path(folder), known, unseen, way, seed)
                    rows.setdefault((kind, name), []).append(found)
                    errors = f"{found[0]:11.3f}  {found[1]:11.3f}  {found[2]:8.3f}"
                    print(f"{seed:4d}  {kind:8s}  {name:11s}  {errors}", flush=True)
    mean = {key: np.mean(found, axis=0) for key, found in rows.items()}
    met = {}
    for number, what in enumerate(("known dates", "later dates", "later dates after adapting")):
        walk, plain = (mean["drifting", name][number] for name in WAYS)
        met[f"drifting, {what}: error {walk:.3f} in order, {plain:.3f} without"] = walk < plain
    verdict_of(met)


if __name__ == "__main__":
    main()
