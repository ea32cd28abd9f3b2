"""Tasks that run the same thing in the same way share one component; kfp writes one a task."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from levelseq.cohort import canonical_json

__all__ = ["share_components"]

Json = dict[str, Any]


def share_components(pipeline: PipelineSpec, platform: PlatformSpec) -> None:
    """Give tasks with equal components, executors and Kubernetes settings one of each, in place.

    An object of Kubernetes is limited in size, and a workflow holds the whole pipeline.
    """
    spec, settings = json_format.MessageToDict(pipeline), json_format.MessageToDict(platform)
    others = _repeated(spec, settings)
    for name in others:
        label = spec["components"].pop(name)["executorLabel"]
        for executors in _executors(spec, settings):
            executors.pop(label, None)
    for group in [spec["root"], *spec["components"].values()]:
        for task in group.get("dag", {}).get("tasks", {}).values():
            task["componentRef"]["name"] = others.get(
                task["componentRef"]["name"], task["componentRef"]["name"]
            )
    for message, content in ((pipeline, spec), (platform, settings)):
        message.Clear()
        json_format.ParseDict(content, message)


def _repeated(spec: Json, settings: Json) -> dict[str, str]:
    """Component -> the first one, by name, that is the same but for its name."""
    first: dict[bytes, str] = {}
    others = {}
    for name, component in sorted(spec["components"].items()):
        label = component.get("executorLabel")
        if label:
            content = [component | {"executorLabel": ""}]
            content += [executors.get(label) for executors in _executors(spec, settings)]
            kept = first.setdefault(canonical_json(content), name)
            if kept != name:
                others[name] = kept
    return others


def _executors(spec: Json, settings: Json) -> list[Json]:
    """Executors by label: the containers, and each platform's settings of them."""
    platforms = settings.get("platforms", {}).values()
    return [item["deploymentSpec"]["executors"] for item in (spec, *platforms)]
