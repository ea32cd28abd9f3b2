"""Every kustomization that a person applies, rendered once."""

from __future__ import annotations

import contextlib
import functools
import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from levelseq_pipelines.cli import parser

MANIFESTS = Path(__file__).parents[2] / "manifests"
CLOUDS = ("local", "gke", "eks", "aks")
OVERLAYS = tuple(f"{where}/{cloud}" for where in ("overlays", "standalone") for cloud in CLOUDS)
EVENTS = ("events/sqs", "events/pubsub", "events/azure-queue")

Objects = list[dict[str, Any]]


@functools.cache
def _objects(folder: str) -> tuple[dict[str, Any], ...]:
    command = ["kubectl", "kustomize", str(MANIFESTS / folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="session")
def render() -> Callable[[str], Objects]:
    """What `kubectl apply -k manifests/FOLDER` would send, as a fresh copy."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    return lambda folder: [yaml.safe_load(yaml.safe_dump(item)) for item in _objects(folder)]


@pytest.fixture(scope="session")
def everything(render: Callable[[str], Objects]) -> Objects:
    """The objects of all overlays and examples, and the patch of Argo's settings."""
    patch = yaml.safe_load((MANIFESTS / "kubeflow" / "workflow-defaults.yaml").read_text())
    return [patch, *(item for folder in (*OVERLAYS, *EVENTS) for item in render(folder))]


def only(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """The one object of this kind and name."""
    (found,) = (
        item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)
    )
    return found


def takes(command: str, option: str) -> bool:
    """Whether a command of levelseq has an option."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        parser().parse_args([command, "--help"])
    return option in said.getvalue()
