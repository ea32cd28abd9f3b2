"""Verdicts as validate writes them, small enough to read."""

import json

import numpy as np

from levelseq.cohort import manifest_json
from levelseq.recalibrate.challenge import Challenge
from levelseq.store import join, open_store
from levelseq.validate.pictures import Pictures
from levelseq.validate.report import render

COHORT = "9f" * 16


def gate(name, value, threshold, outcome):
    return {
        "name": name,
        "value": value,
        "threshold": threshold,
        "outcome": outcome,
        "reason": f"{name} {outcome}",
        "threshold_from": "default",
        "metric": "1",
    }


def make_verdict(
    decision, *, champion=None, model="m-new", total=0.8, drift="pass", data="release"
):
    drift_value = {"pass": 0.01, "fail": 0.3, "not_evaluated": None}[drift]
    return {
        "schema": "levelseq.verdict/1",
        "run": "8c1f0a6623b0d9e1",
        "cohort": COHORT,
        "model": model,
        "normalized": f"normalized-by-{model}",
        "champion": champion,
        "data": data,
        "model_decision": decision,
        "reasons": [f"first: {decision}"],
        "gates": [
            gate("mixing.ilisi", 0.6, [0.3, None], "pass" if data == "release" else "fail"),
            gate("drift.latent", drift_value, [None, 0.1], drift),
        ],
        "baseline": {"tissue": ["lung"], "assay": [], "earlier": 0},
        "controls": [],
        "scores": {"scib_total": total, "scib_metrics": "0.5.10"},
    }


def make_pictures():
    rng = np.random.default_rng(0)
    return Pictures(
        before=rng.normal(size=(30, 2)).astype(np.float32),
        after=rng.normal(size=(30, 2)).astype(np.float32),
        projection="PCA",
        columns={"batch": np.array(["a", "b"] * 15)},
        scores={"levelseq": {"total": 0.8, "bio": 0.8, "batch": 0.8}},
        history={},
        methods=[],
        provenance={},
    )


class Study:
    """One workspace with a first verdict in it, and what a settled run has left there."""

    name = "study"

    def __init__(self, workspace, verdict):
        self.workspace = workspace
        self.run = verdict["run"]
        self.store = open_store(join(workspace, "runs", self.run))
        self.verdict = join(self.store.address, "verdict.json")
        self.store.put("verdict.json", manifest_json(verdict))
        self.store.put("report.html", render(verdict, make_pictures()).encode())

    def final(self):
        return json.loads(self.store.get("verdict.json"))

    def left(self):
        """Every object of the workspace, the log without its times."""
        store = open_store(self.workspace)
        found = {path: store.get(path) for path in store.list()}
        for path in found:
            if "/log/" in path:
                entry = json.loads(found[path])
                found[path] = manifest_json({**entry, "time": "", "previous": ""})
        return found


class Challenger:
    """A challenger with a known verdict; it counts how often it was made."""

    def __init__(self, verdict):
        self.verdict = verdict
        self.made = 0

    def __call__(self, params, first, workspace, name):
        self.made += 1
        return Challenge(self.verdict, make_pictures())
