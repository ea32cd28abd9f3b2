"""What each cloud calls its spot and GPU nodes: labels to select, taints to tolerate.

The names of classes and pools are those that `manifests/overlays/<cloud>` makes. Whether a GPU
node is spot or on demand, and which is tried first, is the pool's business (priorities of a
ComputeClass, weights of NodePools): a retry repeats the same pod.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from levelseq.errors import BadOption

__all__ = ["CLOUDS", "Cloud", "Expression", "Toleration", "cloud_named"]


@dataclass(frozen=True)
class Toleration:
    """A taint that a pod bears; without a value any value of the key."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


@dataclass(frozen=True)
class Expression:
    """One expression of a node affinity."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cloud:
    """One cloud's words for nodes.

    Attributes:
        gpu: whether training tasks ask for a GPU.
        gpu_selector: labels of the nodes that have one.
        gpu_nodes: the same where labels cannot say it.
        gpu_tolerations: taints of those nodes.
        spot_tolerations: taints of spot nodes.
        spot_nodes: how a CPU task prefers spot nodes.
        on_demand: what spot nodes do not fulfil.
        parts: into how many parts the work on shards is split at most.
        on_demand_selector: what takes the place of `gpu_selector` there.
        store: the scheme of the cloud's own store.
        pod_labels: what ties a pod to its identity in the cloud.
    """

    gpu: bool = True
    gpu_selector: dict[str, str] = field(default_factory=dict)
    gpu_nodes: tuple[Expression, ...] = ()
    gpu_tolerations: tuple[Toleration, ...] = (Toleration("nvidia.com/gpu"),)
    spot_tolerations: tuple[Toleration, ...] = ()
    spot_nodes: tuple[Expression, ...] = ()
    on_demand: tuple[Expression, ...] = ()
    parts: int = 8
    on_demand_selector: dict[str, str] = field(default_factory=dict)
    store: str = "s3"
    pod_labels: dict[str, str] = field(default_factory=dict)


_KARPENTER_SPOT = Expression("karpenter.sh/capacity-type", "In", ("spot",))
_KARPENTER_ON_DEMAND = Expression("karpenter.sh/capacity-type", "In", ("on-demand",))
_KARPENTER_GPU = Expression(
    "karpenter.sh/nodepool", "In", ("levelseq-gpu-spot", "levelseq-gpu-on-demand")
)

CLOUDS: dict[str, Cloud] = {
    "local": Cloud(gpu=False, parts=1),
    "gke": Cloud(
        gpu_selector={"cloud.google.com/compute-class": "levelseq-gpu"},
        on_demand_selector={"cloud.google.com/compute-class": "levelseq-gpu-on-demand"},
        gpu_tolerations=(
            Toleration("nvidia.com/gpu"),
            Toleration("cloud.google.com/compute-class"),
        ),
        store="gs",
        spot_tolerations=(Toleration("cloud.google.com/gke-spot", "true"),),
        spot_nodes=(Expression("cloud.google.com/gke-spot", "In", ("true",)),),
        on_demand=(Expression("cloud.google.com/gke-spot", "DoesNotExist"),),
    ),
    "eks": Cloud(
        gpu_nodes=(_KARPENTER_GPU,),
        spot_nodes=(_KARPENTER_SPOT,),
        on_demand=(_KARPENTER_ON_DEMAND,),
    ),
    "aks": Cloud(
        store="az",
        pod_labels={"azure.workload.identity/use": "true"},
        gpu_nodes=(_KARPENTER_GPU,),
        spot_tolerations=(Toleration("kubernetes.azure.com/scalesetpriority", "spot"),),
        spot_nodes=(_KARPENTER_SPOT,),
        on_demand=(_KARPENTER_ON_DEMAND,),
    ),
}


def cloud_named(name: str) -> Cloud:
    """The words of one cloud; BadOption if there is none of that name."""
    if name not in CLOUDS:
        raise BadOption(f"{name!r} is no cloud", where="--cloud", do=f"one of {', '.join(CLOUDS)}")
    return CLOUDS[name]
