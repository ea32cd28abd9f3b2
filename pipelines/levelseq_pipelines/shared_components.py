"""Tasks that run the same thing in the same way share one component; kfp writes one a task."""

from __future__ import annotations

from typing import Any

from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentSpec, PipelineSpec, PlatformSpec

__all__ = ["share_components"]


def share_components(pipeline: PipelineSpec, platform: PlatformSpec) -> None:
    """Give tasks with equal components, executors and Kubernetes settings one of each, in place.

    An object of Kubernetes is limited in size, and a workflow holds the whole pipeline.
    """
    executors = _executors(pipeline, platform)
    others = _repeated(pipeline, executors)
    for group in [pipeline.root, *pipeline.components.values()]:
        for task in group.dag.tasks.values() if group.HasField("dag") else ():
            name = task.component_ref.name
            task.component_ref.name = others.get(name, name)
    for name in others:
        label = pipeline.components[name].executor_label
        del pipeline.components[name]
        for by_label in executors:
            by_label.pop(label, None)


def _repeated(pipeline: PipelineSpec, executors: list[Any]) -> dict[str, str]:
    """Component -> the first one, by name, that is the same but for its name."""
    first: dict[tuple[bytes, ...], str] = {}
    others = {}
    for name, component in sorted(pipeline.components.items()):
        label = component.executor_label
        if label:
            nameless = ComponentSpec()
            nameless.CopyFrom(component)
            nameless.executor_label = ""
            found = [by_label[label] for by_label in executors if label in by_label]
            content = tuple(
                each.SerializeToString(deterministic=True) for each in (nameless, *found)
            )
            kept = first.setdefault(content, name)
            if kept != name:
                others[name] = kept
    return others


def _executors(pipeline: PipelineSpec, platform: PlatformSpec) -> list[Any]:
    """Label -> executor: the containers, and each platform's settings of them."""
    containers = pipeline.deployment_spec.fields["executors"].struct_value.fields
    return [containers, *(each.deployment_spec.executors for each in platform.platforms.values())]
