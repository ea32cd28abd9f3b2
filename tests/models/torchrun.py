"""`levelseq train` in two processes on this machine, as torchrun starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import TRAINING, Trained

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start(trained: Trained, workspace: Path, **choices: object) -> subprocess.Popen[str]:
    """Start torchrun to train as the study's own model was."""
    addresses = {"cohort": trained.cohort, "normalized": trained.normalized, "workspace": workspace}
    options = addresses | TRAINING.model_dump(exclude_unset=True) | choices
    command = [sys.executable, *TORCHRUN, "-m", "levelseq_pipelines.cli", "train"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return subprocess.Popen(
        command,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )
