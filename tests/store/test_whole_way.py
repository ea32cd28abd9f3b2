"""From deposits to verdict with deposits and workspace in Google's store and in Azure's."""

from __future__ import annotations

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
    manifest = next(path for path in before if path.endswith("cohort.json"))
    again = ["ingest", "--deposits", sheet, "--workspace", workspace, *COLUMNS]
    assert levelseq(tmp_path, *again) == f"{workspace}/{manifest}"
    assert {path: store.get_versioned(path) for path in store.list("cohorts")} == before
