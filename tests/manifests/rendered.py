"""Every kustomization that a person applies, rendered once."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[2] / "manifests"
CLOUDS = ("local", "gke", "eks", "aks")
OVERLAYS = tuple(f"{where}/{cloud}" for where in ("overlays", "standalone") for cloud in CLOUDS)
EVENTS = ("events/sqs", "events/pubsub", "events/azure-queue")

Objects = list[dict[str, Any]]


@functools.cache
def _text(folder: Path) -> str:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects_of(folder: Path) -> Objects:
    """What `kubectl apply -k FOLDER` would send, as a fresh copy."""
    return list(yaml.safe_load_all(_text(folder)))


def only(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """The one object of this kind and name."""
    (found,) = (
        item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)
    )
    return found


def names_of(objects: Objects, kind: str) -> set[str]:
    """The names of all objects of a kind."""
    return {item["metadata"]["name"] for item in objects if item["kind"] == kind}
