"""From deposits to verdict with deposits and workspace in Google's store and in Azure's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from levelseq.simulate import SimulateParams, study
from levelseq.store import open_store, read_json

SMALL = {
    "cells": 196,
    "genes": 600,
    "types": 3,
    "tree": "site=2,lab=2",
    "batch_sd": 0.5,
    "condition_genes": 40,
}
COLUMNS = [
    "--batch",
    "site>lab",
    "--label",
    "cell_type",
    "--condition",
    "condition",
    "--donor",
    "donor",
]


def levelseq(folder: Path, *words: str) -> str:
    """The last line that the command says on stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "levelseq_pipelines.cli", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ,
        timeout=600,
    )
    assert done.returncode in (0, 3), done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_a_study_goes_the_whole_way(
    cloud: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = str(request.getfixturevalue(cloud))
    workspace = f"{place}/w"
    sheet = study.write(SimulateParams(**SMALL), f"{place}/deposits")  # type: ignore[arg-type]
    words = ["run", "--deposits", sheet, "--workspace", workspace, *COLUMNS]
    verdict = levelseq(tmp_path, *words)
    assert verdict.startswith(f"{workspace}/runs/")
    assert read_json(verdict)["schema"] == "levelseq.verdict/1"
    store = open_store(workspace)
    before = {path: store.get_versioned(path) for path in store.list("cohorts")}
    assert any(path.endswith("cohort.json") for path in before)
    assert levelseq(tmp_path, *words) == verdict
    assert {path: store.get_versioned(path) for path in store.list("cohorts")} == before
    out = tmp_path / "levelled.h5ad"
    (normalized,) = {p.split("/")[1] for p in store.list("normalized")}
    levelseq(
        tmp_path,
        "export",
        "--normalized",
        f"{workspace}/normalized/{normalized}",
        "--out",
        str(out),
    )
    assert out.stat().st_size > 0
    assert json.loads(store.get("cohorts/" + next(iter(before)).split("/")[1] + "/plan.json"))
