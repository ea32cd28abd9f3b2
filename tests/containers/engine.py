"""The container engine of this machine, and the settings that a confined machine asks of it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

# What a cluster's strictest policy leaves a pod: no capability, no new privilege, /tmp to write in.
# The network is the host's, since the object store of these tests listens on the loopback.
RESTRICTED = (
    *("--rm", "--network=host", "--read-only", "--tmpfs=/tmp"),
    *("--cap-drop=all", "--security-opt=no-new-privileges"),
)

# Open files and processes of one task.
ENOUGH = 4096


@dataclass(frozen=True)
class Engine:
    """`podman` or `docker`, and the environment to call it in."""

    program: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run one command of the engine to its end."""
        return subprocess.run(
            [self.program, *words],
            capture_output=True,
            text=True,
            env=os.environ | self.environment,
            timeout=timeout,
        )

    def start(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command of the engine; what it says on stderr goes to a file."""
        with log.open("wb") as target:
            return subprocess.Popen(
                [self.program, *words],
                stdout=subprocess.DEVNULL,
                stderr=target,
                env=os.environ | self.environment,
            )


def installed_engine() -> Engine | None:
    """The first engine that is installed and answers."""
    for program in ("podman", "docker"):
        # The docker client alone is no engine: it answers with an error.
        if shutil.which(program) and Engine(program)("info").returncode == 0:
            return Engine(program)
    return None


def able_to_run(engine: Engine, image: str, scratch: Path) -> tuple[Engine | None, str]:
    """The engine with settings that let a container start here, or None and why it does not.

    Podman raises a container's limits above those of the machine, which a machine that is itself
    confined forbids, and crun refuses a mixture of old and new control groups, where runc works.
    """
    confined = replace(engine, environment={"CONTAINERS_CONF": str(scratch / "containers.conf")})
    (scratch / "containers.conf").write_text(confined_settings(), encoding="utf-8")
    why = ""
    for candidate in (engine, confined)[: 2 if engine.program == "podman" else 1]:
        tried = candidate("run", "--rm", "--network=host", image, "python3", "--version")
        if tried.returncode == 0:
            return candidate, ""
        why = tried.stderr.strip().splitlines()[-1]
    return None, f"{engine.program} starts no container here: {why}"


def confined_settings() -> str:
    """`containers.conf`: limits within this process's own, and runc where it is installed."""
    limits = [
        f'"{name}={least}:{least}"'
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
        for least in [_within(resource.getrlimit(number)[1])]
    ]
    runtime = '[engine]\nruntime = "runc"\n' if shutil.which("runc") else ""
    return f"[containers]\ndefault_ulimits = [{', '.join(limits)}]\n{runtime}"


def _within(limit: int) -> int:
    return ENOUGH if limit == resource.RLIM_INFINITY else min(limit, ENOUGH)
