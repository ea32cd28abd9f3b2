"""`make bench-drift-rate`: false alarms of the drift decision, and its power.

usage: drift_rate.py [--deposits N] [--studies N] [--tree TREE] [--out FILE.md]

N deposits without drift, each a new run of a study of its own that draws its batch effects from
the same variance; then drift of four kinds and strengths over the later deposits of some studies.
Every number goes through the functions behind the gates.
"""

from __future__ import annotations

import os

# Before numpy is loaded: each process keeps to its core.
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"
os.environ.setdefault("LEVELSEQ_QUIET", "1")

import argparse
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from drift_deposits import Study, judged
from scipy.stats import binomtest
from studies import verdict_of

from levelseq.simulate.params import SimulateParams
from levelseq.validate.drift_decision import FALSE_ALARM_RATE
from levelseq.validate.drift_history import History
from levelseq.validate.drift_measures import GATES, MEASURES

SIZES = {"cells": 1200, "genes": 500, "donors": 8, "condition_genes": 30, "later": 1}
FLAT, NESTED = "site=1,run=8", "site=2,lab=2,run=2"
STRENGTHS = {
    "depth": (0.5, 1.0, 1.5, 2.0, 3.0),
    "gc": (0.1, 0.2, 0.3, 0.4, 0.5),
    "protocol": (0.2, 0.3, 0.4, 0.5, 1.0),
    "lot": (0.5, 1.0, 1.5, 2.0, 3.0),
}
MEANING = {
    "depth": "log of the median library",
    "gc": "sd over genes of a log effect along GC",
    "protocol": "1 is another protocol: depth, and an effect of its own on every gene",
    "lot": "log effect on 3 % of the genes, up or down",
}
# The false alarms' studies and those of the power are not the same ones.
NULL_SEEDS, POWER_SEEDS = 10_000, 100_000
Alarms = dict[str, bool]


def alarms(study: Study, counts: Any, history: list[Any]) -> Alarms:
    """Whether a later run fails the decision and each gate, and each measure if it were a gate."""
    table = judged(history, [study.measures(counts)])
    found = {gate.name: gate.outcome == "fail" for gate in table.gates()}
    level = FALSE_ALARM_RATE / len(GATES)
    for name, measure in MEASURES.items():
        value, past = table.values[name][0], table.history[name]
        if measure.gate is None:
            known = bool(np.isfinite(value))
            found[name] = known and History(past, measure.scale).t_p(value) < level
    return {"decision": any(found[gate] for gate in GATES), **found}


def null_deposit(task: tuple[int, str]) -> Alarms:
    """One study and one later run without drift."""
    seed, tree = task
    study = Study.draw(SimulateParams.checked(**SIZES, tree=tree, seed=NULL_SEEDS + seed))
    return alarms(study, study.later(1), study.history())


def drifted_deposits(task: tuple[int, str]) -> dict[tuple[str, float], Alarms]:
    """One study and the same later run with drift of every kind and strength."""
    seed, tree = task
    study = Study.draw(SimulateParams.checked(**SIZES, tree=tree, seed=POWER_SEEDS + seed))
    history = study.history()
    return {
        (kind, strength): alarms(study, study.later(1, (kind, strength)), history)
        for kind, strengths in STRENGTHS.items()
        for strength in strengths
    }


def over(work: Callable[[tuple[int, str]], Any], n: int, tree: str) -> Iterator[Any]:
    """The work of n seeds, over all cores."""
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        for done, found in enumerate(pool.imap_unordered(work, [(s, tree) for s in range(n)]), 1):
            if done % 50 == 0:
                print(f"{done} of {n} studies", flush=True)
            yield found


def rate_table(found: list[Alarms]) -> list[str]:
    """A line for the decision, each gate, and each measure beside the gates."""
    lines = ["| | false alarms | rate | 95 % interval | nominal |", "|---|---|---|---|---|"]
    for name in found[0]:
        count = sum(alarm[name] for alarm in found)
        low, high = binomtest(count, len(found)).proportion_ci()
        nominal = FALSE_ALARM_RATE if name == "decision" else FALSE_ALARM_RATE / len(GATES)
        beside = "" if name == "decision" or name in GATES else ", not a gate"
        lines.append(
            f"| {name}{beside} | {count} of {len(found)} | {count / len(found):.2%} "
            f"| {low:.2%} to {high:.2%} | {nominal:.2%} |"
        )
    return lines


def power_tables(found: list[dict[tuple[str, float], Alarms]]) -> list[str]:
    """For each kind of drift the share of deposits that the decision and each measure see."""
    lines = []
    for kind, strengths in STRENGTHS.items():
        names = list(found[0][kind, strengths[0]])
        lines += ["", f"{kind}: {MEANING[kind]}", ""]
        lines += [f"| strength | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for strength in strengths:
            seen = [np.mean([f[kind, strength][name] for f in found]) for name in names]
            lines.append(f"| {strength:g} | " + " | ".join(f"{s:.2f}" for s in seen) + " |")
    return lines


PAGE = """# Drift: false alarms and power

Made by `make bench-drift-rate ARGS="{args}"`. Studies of {cells:,} cells and
{genes} genes with 8 runs (batch tree `{tree}`), simulated with the package's effects; the embedding
is the classical model's. The history is each run left out of the others.

## False alarms

{deposits} deposits without drift, each a new run of a study of its own with the same variance of
batch effects. The gates share {rate:.0%}. The scales on which values of batches are taken for
normal were chosen with most of the studies of the default seeds in view.

{rates}

## Power

Share of {studies} later runs in which the decision, each gate, and each measure beside the gates
(as if it had a gate's share) sees drift of a kind and strength. Power beside false alarms above
their nominal rate is not comparable with that of a gate that keeps its own.
{power}
"""


def main() -> None:
    """Print both tables, write the page, then the bar."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--deposits", type=int, default=1000)
    parser.add_argument("--studies", type=int, default=100)
    parser.add_argument("--tree", default=FLAT)
    parser.add_argument("--out", type=Path)
    told = parser.parse_args()
    warnings.filterwarnings("ignore")
    quiet = list(over(null_deposit, told.deposits, told.tree))
    rates = rate_table(quiet)
    print("\n".join(rates), flush=True)
    power = power_tables(list(over(drifted_deposits, told.studies, told.tree)))
    print("\n".join(power), flush=True)
    if told.out:
        args = f"--deposits {told.deposits} --studies {told.studies}"
        args += "" if told.tree == FLAT else f" --tree {told.tree}"
        page = PAGE.format(
            args=f"{args} --out {told.out}",
            rates="\n".join(rates),
            power="\n".join(power),
            rate=FALSE_ALARM_RATE,
            **{**SIZES, **vars(told)},
        )
        told.out.write_text(page, encoding="utf-8")
    count = sum(alarm["decision"] for alarm in quiet)
    p = binomtest(count, len(quiet), FALSE_ALARM_RATE, alternative="greater").pvalue
    verdict_of(
        {
            f"{count} of {len(quiet)} null deposits alarm: no more than 1 % by a test at 1 %": p
            > 0.01
        }
    )


if __name__ == "__main__":
    main()
