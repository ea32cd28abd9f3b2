"""The Kubeflow model registry, by its REST API v1alpha3: a champion is a version of a model.

`LEVELSEQ_MODEL_REGISTRY` is the server's address and turns it on; `LEVELSEQ_MODEL_REGISTRY_TOKEN` a
bearer token where one is asked for. Field names follow the published OpenAPI document of
kubeflow/model-registry.
"""

from __future__ import annotations

import os
from typing import Any

from levelseq.registry.sinks.http import JsonServer, bearer
from levelseq.registry.sinks.told import Champion, Decision

__all__ = ["address", "tell_champion", "tell_decision"]

_API = "api/model_registry/v1alpha3"
_ABOUT = "Models of levelseq; `champion` is the key of the one that new data are mapped through."


def address() -> str:
    """The registry's address, or nothing."""
    return os.environ.get("LEVELSEQ_MODEL_REGISTRY", "")


def tell_decision(decision: Decision) -> None:
    """Register a promoted model: version, and artifact by pointer; then who is champion.

    Raises:
        Unreachable: the server refuses or does not answer.
    """
    if decision.promoted:
        server = _server()
        model = _model(server, decision.name)
        _artifact(server, _version(server, model, decision), decision)
    tell_champion(decision.champion)


def tell_champion(champion: Champion) -> None:
    """Write the champion's key to the registered model, empty where nobody reigns."""
    server = _server()
    found = server.find("registered_model", name=champion.name)
    if found is not None:
        properties = _properties({"champion": champion.model or ""})
        server.patch(f"registered_models/{found['id']}", {"customProperties": properties})


def _server() -> JsonServer:
    token = os.environ.get("LEVELSEQ_MODEL_REGISTRY_TOKEN", "")
    return JsonServer(f"{address().rstrip('/')}/{_API}", bearer(token))


def _model(server: JsonServer, name: str) -> str:
    found = server.find("registered_model", name=name)
    made = found or server.post("registered_models", {"name": name, "description": _ABOUT})
    return str(made["id"])


def _version(server: JsonServer, model: str, decision: Decision) -> str:
    found = server.find("model_version", name=decision.model, parentResourceId=model)
    content = {
        "name": decision.model,
        "registeredModelId": model,
        "description": f"{decision.facts['class']}, {decision.action} by run {decision.run}",
        "customProperties": _properties(decision.facts | {"run": decision.run}, decision.metrics),
    }
    return str((found or server.post("model_versions", content))["id"])


def _artifact(server: JsonServer, version: str, decision: Decision) -> None:
    place = decision.places["model"]
    if server.find("model_artifact", name=decision.model, parentResourceId=version):
        return
    server.post(
        f"model_versions/{version}/artifacts",
        {
            "artifactType": "model-artifact",
            "name": decision.model,
            "uri": place.address,
            "state": "LIVE",
            "modelFormatName": "levelseq",
            "modelFormatVersion": decision.facts["schema"].rpartition("/")[2],
            "modelSourceKind": "kfp",
            "modelSourceClass": "pipelinerun",
            "modelSourceId": decision.run,
            "modelSourceName": decision.name,
            "customProperties": _properties({"sha256": place.sha256}),
        },
    )


def _properties(facts: dict[str, str], metrics: dict[str, float] | None = None) -> dict[str, Any]:
    texts = {
        key: {"metadataType": "MetadataStringValue", "string_value": value}
        for key, value in facts.items()
    }
    numbers = {
        key: {"metadataType": "MetadataDoubleValue", "double_value": value}
        for key, value in (metrics or {}).items()
    }
    return texts | numbers
