"""A small study, and kfp's local runner set up as `levelseq run` does."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kfp import local
from small import STUDY

from levelseq.simulate import SimulateParams, study


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sheet of a study that is levelled in seconds: fewer than 200 cells."""
    return study.write(SimulateParams(**STUDY), str(tmp_path_factory.mktemp("deposits")))


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kfp runs tasks in subprocesses, in folders of this test."""
    # It indents what is printed, and where tasks run side by side it does not stop doing so.
    monkeypatch.setattr(builtins, "print", builtins.print)
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(tmp_path / "kfp-root"),
        workspace_root=str(tmp_path / "kfp-workspace"),
    )


@pytest.fixture
def levelseq(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command `levelseq`, as a shell runs it, in a folder of this test."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "levelseq_pipelines.cli", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | environment,
            timeout=300,
        )

    return run
