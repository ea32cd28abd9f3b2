"""Where decisions are told besides the registry: MLflow, the Kubeflow model registry.

They are off unless the environment names them. The registry is the truth: a sink is told after a
decision stands, and one that fails is a line in the log and never a failed run. It is told
numbers, keys, addresses and digests; nothing is uploaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from levelseq.errors import LevelseqError
from levelseq.progress import notice
from levelseq.registry.sinks import kubeflow, mlflow
from levelseq.registry.sinks.http import Unreachable
from levelseq.registry.sinks.told import Champion, Decision

__all__ = ["SINKS", "VARIABLES", "tell_champion", "tell_decision"]

SINKS = "levelseq-sinks"
VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_REGISTRY_URI",
    "LEVELSEQ_MODEL_REGISTRY",
    "LEVELSEQ_MODEL_REGISTRY_TOKEN",
)
"""In a cluster the keys, each optional, of the secret named `SINKS`."""

_SINKS = {"MLflow": mlflow, "the Kubeflow model registry": kubeflow}


def tell_decision(workspace: str, name: str, run: str) -> None:
    """Tell every sink that the environment names what was decided on a run.

    Telling again adds nothing: a retry mends what a sink has missed.

    Args:
        workspace: where registry, model and run are.
        name: the registry's name.
        run: a settled run.
    """
    for title, sink in _SINKS.items():
        if sink.address():
            with _never_failing(title):
                sink.tell_decision(Decision.read(workspace, name, run))


def tell_champion(workspace: str, name: str) -> None:
    """Tell every sink which model is champion now, as after a rollback or a withdrawal."""
    for title, sink in _SINKS.items():
        if sink.address():
            with _never_failing(title):
                sink.tell_champion(Champion.read(workspace, name))


@contextlib.contextmanager
def _never_failing(title: str) -> Iterator[None]:
    try:
        yield
    # Whatever goes wrong with a sink, even a bug: the decision stands and the run is good.
    except Exception as error:
        said = isinstance(error, Unreachable | LevelseqError)
        why = str(error) if said else type(error).__name__
        notice("registry", f"{title} was not told: {why}")
