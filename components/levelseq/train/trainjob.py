"""A TrainJob of Kubeflow Trainer that runs `levelseq train` in several processes.

Fields follow trainer.kubeflow.org/v1alpha1 (Kubeflow Trainer 2.3). The runtime's torch policy sets
what torchrun reads (`PET_NNODES`, `PET_NODE_RANK`, `PET_MASTER_ADDR`, …), so that the entry point
is the command that also works on one machine.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from levelseq.parameters import StepParams
from levelseq.store.pod import POD_SECRET, POD_VARIABLES
from levelseq.train.params import TrainParams

__all__ = [
    "ANNOTATION",
    "GROUP",
    "MANAGER",
    "VERSION",
    "Launch",
    "job_name",
    "train_command",
    "trainjob",
]

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"
MANAGER = {"app.kubernetes.io/managed-by": "levelseq"}
ANNOTATION = "levelseq.dev/model"


class Launch(StepParams):
    """What a TrainJob asks for."""

    image: str = Field(min_length=1, description="the image that the pods run from")
    nodes: int = Field(2, ge=1, le=1024, description="pods that train together")
    gpus: str = Field("1", pattern=r"^\d{1,2}$", description="GPUs of each, as text; 0 for none")
    cpu: str = Field(
        "", description="processors that each asks for; as the runtime has it if empty"
    )
    memory: str = Field("", description="memory of each; as the runtime has it if empty")
    runtime: str = Field("levelseq-torch", description="the TrainingRuntime of the namespace")
    queue: str = Field("", description="Kueue's LocalQueue, if there is one")
    hours: int = Field(72, ge=1, description="after which the job is taken to hang")


def job_name(key: str) -> str:
    """The name of a model's TrainJob: the same model, the same job."""
    return f"levelseq-{key}"


def train_command(params: TrainParams, cohort: str, normalized: str, workspace: str) -> list[str]:
    """`torchrun … levelseq train …` with the options that are not at their defaults."""
    words = ["torchrun", "--no-python", "levelseq", "train"]
    words += ["--cohort", cohort, "--normalized", normalized, "--workspace", workspace]
    for name, value in params.model_dump(exclude_defaults=True).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def trainjob(key: str, command: list[str], asked: Launch) -> dict[str, Any]:
    """The manifest of a model's TrainJob."""
    labels = {**MANAGER, "app.kubernetes.io/name": "levelseq"}
    if asked.queue:
        labels["kueue.x-k8s.io/queue-name"] = asked.queue
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": {"name": job_name(key), "labels": labels, "annotations": {ANNOTATION: key}},
        "spec": {
            "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": asked.runtime},
            "activeDeadlineSeconds": asked.hours * 3600,
            "trainer": {
                "image": asked.image,
                "command": command[:1],
                "args": command[1:],
                "env": [_from_secret(name) for name in POD_VARIABLES],
                "numNodes": asked.nodes,
                "numProcPerNode": max(1, int(asked.gpus)),
                "resourcesPerNode": _resources(asked),
            },
        },
    }


def _from_secret(name: str) -> dict[str, Any]:
    """An optional key: a cluster without the secret uses the pod's own identity."""
    key = {"name": POD_SECRET, "key": name, "optional": True}
    return {"name": name, "valueFrom": {"secretKeyRef": key}}


def _resources(asked: Launch) -> dict[str, Any]:
    requests = {"cpu": asked.cpu, "memory": asked.memory}
    limits = {"memory": asked.memory}
    if asked.gpus != "0":
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = asked.gpus
    return {
        "requests": {name: value for name, value in requests.items() if value},
        "limits": {name: value for name, value in limits.items() if value},
    }
