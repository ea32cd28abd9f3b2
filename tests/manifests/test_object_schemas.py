"""Every object that the manifests make is one that its API would accept."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from rendered import EVENTS, MANIFESTS, OVERLAYS
from resource_schemas import FOLDER, INDEX, schema, validate

CUSTOM = tuple(INDEX)


@pytest.mark.parametrize("folder", [*OVERLAYS, *EVENTS])
def test_every_object_is_valid(render, folder):
    objects = render(folder)
    assert objects
    for item in objects:
        validate(item)


def test_the_kinds_and_versions_that_were_validated(everything):
    kinds = {(item["apiVersion"], item["kind"]): item for item in everything}
    seen = {kind: validate(item) for kind, item in kinds.items()}
    print("\n" + "\n".join(f"{api:32} {kind:22} {by}" for (api, kind), by in sorted(seen.items())))
    assert {kind for _, kind in seen} >= {*CUSTOM, "CronJob", "NetworkPolicy", "Role", "Namespace"}


def test_no_kustomization_is_left_out():
    folders = {
        str(file.parent.relative_to(MANIFESTS))
        for file in MANIFESTS.rglob("kustomization.yaml")
        if yaml.safe_load(file.read_text())["kind"] == "Kustomization"
    }
    assert folders == {*OVERLAYS, *EVENTS, "base", "cluster", "standalone/base"}


@pytest.mark.parametrize("kind", CUSTOM)
def test_a_custom_resource_with_a_fault_is_refused(everything, kind):
    good = next(item for item in everything if item["kind"] == kind)
    for bad in _faulty(good):
        with pytest.raises(jsonschema.ValidationError):
            validate(bad)


def _faulty(good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The object of another version; with a field more in each of its own objects."""
    yield good | {"apiVersion": good["apiVersion"] + "x"}
    for path in _objects_inside(good, ()):
        bad = copy.deepcopy(good)
        inner = bad
        for step in path:
            inner = inner[step]
        inner["notAField"] = "x"
        yield bad


# Maps whose keys are the user's own.
FREE = {
    *("labels", "annotations", "matchLabels", "nodeLabels", "limits", "requests", "tags"),
    *("headers", "sqs", "pubSub", "azureQueueStorage"),
}


def _objects_inside(part: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Where the objects with named fields are."""
    if isinstance(part, dict):
        if not path or path[-1] not in FREE:
            yield path
        for key, value in part.items():
            yield from _objects_inside(value, (*path, key))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from _objects_inside(value, (*path, index))


def test_the_index_names_source_version_and_licence_of_every_schema():
    assert {file.stem for file in FOLDER.glob("*.yaml")} == {*INDEX, "index"}
    for entry in INDEX.values():
        assert entry.keys() - {"open"} == {"apiVersion", "source", "version", "licence"}


@pytest.mark.parametrize("kind", CUSTOM)
def test_a_schema_holds_structure_and_no_prose(kind):
    assert set(_annotations(schema(kind))) <= {"$schema", "$id"}


def _annotations(part: Any) -> Iterator[str]:
    """Keywords of a schema that check nothing."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in {"properties", "$defs"}:
                for inner in value.values():
                    yield from _annotations(inner)
            else:
                if key in {"description", "title", "default", "example", "$comment", "$schema"}:
                    yield key
                yield from _annotations(value)
    elif isinstance(part, list):
        for value in part:
            yield from _annotations(value)


def test_no_manifest_uses_a_part_whose_schema_is_open(everything):
    for item in everything:
        for path in INDEX.get(item["kind"], {}).get("open", []):
            _, field = path.split(".")
            assert field not in item["spec"], path


def test_workflow_defaults_are_a_retry_strategy_of_argo():
    patch = yaml.safe_load((MANIFESTS / "kubeflow" / "workflow-defaults.yaml").read_text())
    assert patch["metadata"]["name"] == "workflow-controller-configmap"
    defaults = yaml.safe_load(patch["data"]["workflowDefaults"])
    retry = defaults["spec"]["templateDefaults"]["retryStrategy"]
    # Fields of RetryStrategy in Argo Workflows 3.7 (affinity left out).
    assert retry.keys() <= {"limit", "retryPolicy", "backoff", "expression"}
    assert retry["retryPolicy"] == "Always"
    assert retry["limit"] == "0", "a task that asks for no retries must not get any"
    assert "lastRetry.status" in retry["expression"]
    assert "lastRetry.message" in retry["expression"]
