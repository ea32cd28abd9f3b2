"""`make bench-drift`: later deposits with and without drift, mapped through a champion.

usage: drift.py [DEPOSITS] [DRIFT]     so many with drift and so many without, over four champions
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from studies import built, ingested, simulated, verdict_of

from levelseq.models.mapping import map_cohort
from levelseq.normalize.params import NormalizeParams
from levelseq.recalibrate import step as recalibrate
from levelseq.recalibrate.params import RecalibrateParams
from levelseq.simulate import study
from levelseq.simulate.params import SimulateParams
from levelseq.store import read_json
from levelseq.validate import step as validate
from levelseq.validate.params import ValidateParams

CHAMPIONS = 4
NAME = "cohort"


def judged(workspace: Path, cohort: str, model: str, run: str) -> dict:
    """A cohort mapped through a model, validated and settled: the final verdict."""
    place = str(workspace)
    levelled = map_cohort(NormalizeParams(), cohort, model, place)
    first = validate.run(ValidateParams(), cohort, levelled, model, place, NAME, run)
    return read_json(recalibrate.run(RecalibrateParams(), first, place, NAME))


def later_deposit(workspace: Path, model: str, seed: int, drift: float, k: int) -> dict:
    """Simulate the k-th later deposit of a study in a copy of its workspace, and judge it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "w"
        shutil.copytree(workspace, copy)
        params = SimulateParams.checked(seed=seed, later=1, later_seed=100 + k, drift=drift)
        study.write(params, str(copy / "later"))
        cohort = ingested(copy, str(copy / "later/later/1/deposits.csv"))
        return judged(copy, cohort, model, f"later-{k}")


def main() -> None:
    """Print a line a deposit, then the bars."""
    deposits = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    strength = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    each = -(-deposits // CHAMPIONS)
    promoted = disturbed = done = 0
    print(
        "study  deposit  drift  first         final      data     expression shift (limit)  latent"
    )
    for seed in range(CHAMPIONS):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            champion = built(place, simulated(place, seed=seed))
            base = judged(place, champion.cohort, champion.model, "base")
            assert base["model_decision"] == "promote", base["reasons"]
            for k in range(min(each, deposits - done)):
                for drift in (strength, 0.0):
                    verdict = later_deposit(place, champion.model, seed, drift, k)
                    first = verdict["first"]
                    drifted = [g for g in verdict["gates"] if g["name"].startswith("drift.")]
                    passing = all(gate["outcome"] == "pass" for gate in drifted)
                    if drift:
                        promoted += (
                            first == "recalibrate"
                            and verdict["model_decision"] == "promote"
                            and passing
                        )
                    else:
                        disturbed += first == "recalibrate"
                    shown = {gate["name"]: gate for gate in drifted}
                    wide, near = shown["drift.expression"], shown["drift.latent"]
                    print(
                        f"{seed:5d}  {k:7d}  {drift:5.1f}  {first:12s}  "
                        f"{verdict['model_decision']:9s}  {verdict['data']:7s}  "
                        f"{wide['value']:.3f} ({wide['threshold'][1]:.3f})  "
                        f"{near['value']:.3f} ({near['threshold'][1]:.3f})",
                        flush=True,
                    )
            done += min(each, deposits - done)
    least, most = round(0.9 * deposits), round(0.05 * deposits)
    verdict_of(
        {
            f"with drift: {promoted} of {deposits} recalibrated, promoted, gates passing": promoted
            >= least,
            f"without: {disturbed} of {deposits} turned to recalibrate": disturbed <= most,
        }
    )


if __name__ == "__main__":
    main()
