"""What each task asks of a cluster: size, GPU, spot nodes, retries. The one place that says so."""

from __future__ import annotations

import os
from dataclasses import dataclass

from kfp import dsl, kubernetes

from levelseq.doors import IMAGE

__all__ = ["FULL", "GPU", "SMALL", "Profile", "schedule"]

GPU_IMAGE = os.environ.get("LEVELSEQ_GPU_IMAGE", IMAGE)

STORE_SECRET = "levelseq-store"
STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL")


@dataclass(frozen=True)
class Profile:
    """What a kind of task asks for; `spot` lets it run on nodes that may go away."""

    cpu: str
    memory: str
    gpu: bool = False
    spot: bool = True


SMALL = Profile(cpu="500m", memory="2Gi", spot=False)
FULL = Profile(cpu="2", memory="8Gi")
GPU = Profile(cpu="4", memory="16Gi", gpu=True)


def schedule(task: dsl.PipelineTask, profile: Profile, *, cached: bool = True) -> None:
    """Give a task its size, its retries and its place.

    `backoff_max_duration` counts from the first attempt's start: without a long one a pod that
    is preempted after an hour is not tried again.
    """
    task.set_cpu_request(profile.cpu).set_memory_request(profile.memory)
    task.set_memory_limit(profile.memory)
    task.set_retry(3, backoff_duration="30s", backoff_factor=2, backoff_max_duration="604800s")
    task.set_caching_options(cached)
    if profile.gpu:
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
        task.set_container_image(GPU_IMAGE)
        kubernetes.add_toleration(task, key="nvidia.com/gpu", operator="Exists")
    if profile.spot:
        _allow_spot(task)
    # A cluster without the secret uses the pod's own identity.
    kubernetes.use_secret_as_env(task, STORE_SECRET, {key: key for key in STORE_KEYS}, True)


def _allow_spot(task: dsl.PipelineTask) -> None:
    for key, value in (
        ("cloud.google.com/gke-spot", "true"),
        ("kubernetes.azure.com/scalesetpriority", "spot"),
    ):
        kubernetes.add_toleration(task, key=key, operator="Equal", value=value, effect="NoSchedule")
    # Consolidation must not move a pod that is at work; a preemption still may.
    kubernetes.add_pod_annotation(task, "karpenter.sh/do-not-disrupt", "true")
    kubernetes.add_pod_annotation(task, "cluster-autoscaler.kubernetes.io/safe-to-evict", "false")
