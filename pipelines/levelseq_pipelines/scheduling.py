"""What each task asks of a cluster: size, GPU, nodes, queue, retries. The one place that says so.

A pipeline is traced for one `Placement`; what a task may be told only later, its memory and
processors, comes from the plan's forecast as a task's output.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl import pipeline_task

from levelseq.doors import IMAGE
from levelseq.errors import BadOption
from levelseq.registry.sinks import SINKS, VARIABLES
from levelseq.store.pod import POD_SECRET, pod_variables
from levelseq_pipelines.clouds import Cloud, Expression, Toleration, cloud_named

__all__ = [
    "DATA",
    "FIT",
    "GPU_IMAGE",
    "LOCAL",
    "SMALL",
    "Placement",
    "Size",
    "Step",
    "placed",
    "placement",
    "schedule",
    "tell_sinks",
]

GPU_IMAGE = os.environ.get("LEVELSEQ_GPU_IMAGE", "levelseq/levelseq-cuda:0.1.0")

_WEEK = "604800s"
_SHARED_MEMORY = "8Gi"
_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
# Kueue's WorkloadPriorityClasses.
TRAIN, BATCH = "levelseq-train", "levelseq-batch"
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


@dataclass(frozen=True)
class Placement:
    """Where and from what a pipeline's pods run; fixed when it is compiled.

    Attributes:
        cloud: `local`, `gke`, `eks` or `aks`.
        queue: Kueue's LocalQueue; empty: pods are not queued.
        image: of every task.
        gpu_image: of the tasks that train, where the cloud has GPUs.
        on_demand: whether spot nodes are left alone.
        parts: most parts that work on shards is split into; 0: as the cloud has it.
    """

    cloud: str = "local"
    queue: str = ""
    image: str = IMAGE
    gpu_image: str = GPU_IMAGE
    on_demand: bool = False
    parts: int = 0

    @property
    def nodes(self) -> Cloud:
        """The cloud's words for nodes."""
        return cloud_named(self.cloud)

    @property
    def most_parts(self) -> int:
        """How many parts there are at most; 1: nothing is split."""
        return self.parts or self.nodes.parts

    def refuse_unpinned(self) -> None:
        """Raise BadOption if an image in use is not named by its digest."""
        images = {"--image": self.image}
        if self.nodes.gpu:
            images["--gpu-image"] = self.gpu_image
        for option, image in images.items():
            if not _DIGEST.search(image):
                raise BadOption(f"{image} is no digest", where=option, do="end it in @sha256:…")


@dataclass(frozen=True)
class Size:
    """What a task asks for; text, or a channel that carries the plan's forecast."""

    cpu: Any
    memory: Any
    gpu_memory: Any = ""


@dataclass(frozen=True)
class Step:
    """What kind of work a task does.

    Attributes:
        gpu: whether a GPU makes it faster.
        queued: whether it waits for its share of the cluster in the queue; tasks of seconds
            do not.
        spot: whether it may run on nodes that may go away.
        hours: after so many it is taken to hang.
        retries: as many as preemptions that it outlives.
    """

    gpu: bool = False
    queued: bool = True
    spot: bool = True
    hours: int = 24
    retries: int = 8

    def waiting(self, other: Step) -> Step:
        """The same for a task that does nothing but wait for another one's work."""
        return replace(self, hours=other.hours, retries=other.retries)


SMALL = Step(queued=False, spot=False, hours=6, retries=3)
DATA = Step()
FIT = Step(gpu=True, hours=72)

LOCAL = Placement()
_SMALL_SIZE = Size("500m", "2Gi")
_TRACED: ContextVar[Placement | None] = ContextVar("levelseq placement", default=None)


@contextlib.contextmanager
def placed(chosen: Placement) -> Iterator[None]:
    """Trace pipelines for a placement."""
    before = _TRACED.set(chosen)
    try:
        yield
    finally:
        _TRACED.reset(before)


def placement() -> Placement:
    """The placement that is being traced for."""
    return _TRACED.get() or LOCAL


def schedule(
    task: dsl.PipelineTask, step: Step, size: Size = _SMALL_SIZE, *, cached: bool = True
) -> None:
    """Give a task its size, its retries and its place."""
    with _callers_by_name():
        _schedule(task, step, size, cached=cached)


def _schedule(task: dsl.PipelineTask, step: Step, size: Size, *, cached: bool) -> None:
    chosen = placement()
    gpu = step.gpu and chosen.nodes.gpu
    _resize(task, size.cpu, size.gpu_memory if gpu else size.memory)
    task.set_container_image(chosen.gpu_image if gpu else chosen.image)
    task.set_caching_options(cached)
    _retry(task, step)
    _place(task, chosen, gpu=gpu, spot=step.spot and not chosen.on_demand)
    if gpu:
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", "Memory", _SHARED_MEMORY)
    if step.queued and chosen.queue:
        kubernetes.add_pod_label(task, _QUEUE_LABEL, chosen.queue)
        kubernetes.add_pod_label(task, _PRIORITY_LABEL, TRAIN if gpu else BATCH)
    _secure(task, chosen.nodes)


@contextlib.contextmanager
def _callers_by_name() -> Iterator[None]:
    """Let kfp find the name of who sets something without reading sources.

    At each setting it asks `inspect` for all frames and their lines, to have one name for an error:
    half of the time that any levelseq command would take to start.
    """
    before = pipeline_task.inspect
    pipeline_task.inspect = SimpleNamespace(stack=_two_frames)
    try:
        yield
    finally:
        pipeline_task.inspect = before


def _two_frames() -> list[tuple[Any, Any, Any, str]]:
    """As much of `inspect.stack` as kfp looks at: the name of its caller's caller."""
    asking = sys._getframe(1)
    frames = (asking, asking.f_back or asking)
    return [(None, None, None, frame.f_code.co_name) for frame in frames]


def tell_sinks(task: dsl.PipelineTask) -> None:
    """Let a task tell other registries of its decision, where the namespace names any."""
    kubernetes.use_secret_as_env(task, SINKS, {key: key for key in VARIABLES}, True)


def _resize(task: dsl.PipelineTask, cpu: Any, memory: Any) -> None:
    """Memory is limited to its request, so that a pod is not the victim of its neighbours."""
    task.set_cpu_request(cpu)
    task.set_memory_request(memory).set_memory_limit(memory)
    # kfp hands a channel that only sizes use to a task, but not through the groups around it.
    channels = [cpu, memory]
    task.register_pipeline_channels([c for c in channels if not isinstance(c, str)])


def _retry(task: dsl.PipelineTask, step: Step) -> None:
    """`backoff_max_duration` counts from the first attempt's start: an hour, the default, is over
    before a pod that trained for longer is preempted."""
    task.set_retry(
        step.retries, backoff_duration="60s", backoff_factor=1.5, backoff_max_duration=_WEEK
    )
    kubernetes.set_timeout(task, step.hours * 3600)


def _place(task: dsl.PipelineTask, chosen: Placement, *, gpu: bool, spot: bool) -> None:
    nodes = chosen.nodes
    tolerations: tuple[Toleration, ...] = ()
    required: tuple[Expression, ...] = ()
    if gpu:
        tolerations += nodes.gpu_tolerations
        required += nodes.gpu_nodes
        on_demand = chosen.on_demand and nodes.on_demand_selector
        for label, value in (on_demand or nodes.gpu_selector).items():
            kubernetes.add_node_selector(task, label, value)
    if spot:
        tolerations += nodes.spot_tolerations
    if chosen.on_demand:
        required += nodes.on_demand
    for taint in tolerations:
        _tolerate(task, taint)
    if required:
        kubernetes.add_node_affinity(task, match_expressions=_as_json(required))
    if spot and not gpu and nodes.spot_nodes:
        kubernetes.add_node_affinity(task, match_expressions=_as_json(nodes.spot_nodes), weight=100)
    # Consolidation must not move a pod that is at work; a preemption still may.
    kubernetes.add_pod_annotation(task, "karpenter.sh/do-not-disrupt", "true")
    kubernetes.add_pod_annotation(task, "cluster-autoscaler.kubernetes.io/safe-to-evict", "false")


def _tolerate(task: dsl.PipelineTask, taint: Toleration) -> None:
    operator = "Equal" if taint.value else "Exists"
    kubernetes.add_toleration(
        task, key=taint.key, operator=operator, value=taint.value or None, effect=taint.effect
    )


def _as_json(expressions: tuple[Expression, ...]) -> list[dict[str, Any]]:
    return [
        {"key": e.key, "operator": e.operator, **({"values": list(e.values)} if e.values else {})}
        for e in expressions
    ]


def _secure(task: dsl.PipelineTask, cloud: Cloud) -> None:
    """Never root, scratch that is not the image's, and the store's keys where there are any."""
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.empty_dir_mount(task, "scratch", "/tmp")
    for label, value in {"app.kubernetes.io/name": "levelseq", **cloud.pod_labels}.items():
        kubernetes.add_pod_label(task, label, value)
    # A cluster without the secret uses the pod's own identity.
    kubernetes.use_secret_as_env(
        task, POD_SECRET, {key: key for key in pod_variables(cloud.store)}, True
    )
