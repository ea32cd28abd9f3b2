"""Objects against schemas that accept no field they do not name.

Kubernetes' own kinds go to kubernetes-validate, custom resources to the files of `schemas/`,
whose index says where each comes from.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from referencing import Registry, Resource

FOLDER = Path(__file__).parent / "schemas"
INDEX: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "index.yaml").read_text())
# The oldest release that the manifests' fields need, and one of today.
KUBERNETES = ("1.31", "1.36")

_CORE = "https://kubernetes.io/api/_definitions.json"
_OWN = "https://levelseq/schemas/"
_PREFIXES = {
    "core": "io.k8s.api.core",
    "batch": "io.k8s.api.batch",
    "meta": "io.k8s.apimachinery.pkg.apis.meta",
}


def validate(item: dict[str, Any]) -> str:
    """What the object was validated as.

    Raises:
        jsonschema.ValidationError: a field is unknown, missing or of another type.
    """
    kind = item["kind"]
    if kind not in INDEX:
        for version in KUBERNETES:
            kubernetes_validate.validate(item, version, strict=True)
        return f"Kubernetes {', '.join(KUBERNETES)}"
    _validator(kind).validate(item)
    return f"{INDEX[kind]['source']} {INDEX[kind]['version']}"


@functools.cache
def schema(kind: str) -> dict[str, Any]:
    """The closed schema of one custom resource, with what every object has."""
    own: dict[str, Any] = yaml.safe_load((FOLDER / f"{kind}.yaml").read_text())
    own["properties"] |= {
        "apiVersion": {"const": INDEX[kind]["apiVersion"]},
        "kind": {"const": kind},
        "metadata": {"$ref": "meta.v1.ObjectMeta"},
    }
    own["required"] = ["apiVersion", "kind", "metadata", *own.get("required", [])]
    closed: dict[str, Any] = _close(own)
    return closed | {
        "$id": f"{_OWN}{kind}",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    }


@functools.cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    core = Resource.from_contents(_core_definitions())
    others = [Resource.from_contents(schema(other)) for other in INDEX]
    registry: Registry[Any] = [core, *others] @ Registry()
    return jsonschema.Draft202012Validator(schema(kind), registry=registry)


def _close(part: Any) -> Any:
    """Objects with named fields accept no others; short names of types become addresses."""
    if isinstance(part, list):
        return [_close(item) for item in part]
    if not isinstance(part, dict):
        return part
    closed = {
        key: _address(value) if key == "$ref" else _close(value) for key, value in part.items()
    }
    if isinstance(part.get("properties"), dict) and not _is_condition(part):
        closed = {"type": "object", "additionalProperties": False} | closed
    return closed


def _is_condition(part: dict[str, Any]) -> bool:
    """An `if` names some of an object's fields, and says nothing of the rest."""
    return any("const" in value for value in part["properties"].values()) and len(part) == 1


def _address(name: str) -> str:
    if name.startswith("#"):
        return name
    if "#" in name:
        return _OWN + name
    if name == "Quantity":
        return f"{_CORE}#/$defs/io.k8s.apimachinery.pkg.api.resource.Quantity"
    group, rest = name.split(".", 1)
    return f"{_CORE}#/$defs/{_PREFIXES[group]}.{rest}"


def _core_definitions() -> Any:
    folder = files("kubernetes_validate") / "kubernetes-json-schema"
    path = folder / f"v{KUBERNETES[-1]}.0-local-strict" / "_definitions.json"
    return json.loads(path.read_text())
