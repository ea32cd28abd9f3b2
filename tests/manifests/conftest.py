"""What the manifests render to; without kubectl there is nothing to look at."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import yaml
from rendered import EVENTS, MANIFESTS, OVERLAYS, Objects, objects_of


@pytest.fixture(scope="session")
def render() -> Callable[[str], Objects]:
    """The objects of one folder of `manifests/`."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    return lambda folder: objects_of(MANIFESTS / folder)


@pytest.fixture(scope="session")
def everything(render: Callable[[str], Objects]) -> Objects:
    """The objects of all overlays and examples, and the patch of Argo's settings."""
    patch = yaml.safe_load((MANIFESTS / "kubeflow" / "workflow-defaults.yaml").read_text())
    return [patch, *(item for folder in (*OVERLAYS, *EVENTS) for item in render(folder))]
