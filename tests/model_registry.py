"""A small Kubeflow model registry on the loopback that takes only what the published API names.

Paths, fields and rules are those of api/openapi/model-registry.yaml of kubeflow/model-registry
(v1alpha3): unknown fields are refused, ids are decimal text, names are unique below their parent.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema

API = "/api/model_registry/v1alpha3"
TEXT = {"type": "string"}
ID = {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"}
LIVE = {"enum": ["LIVE", "ARCHIVED"]}


def _value(kind: str, field: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["metadataType", field],
        "properties": {"metadataType": {"const": kind}, field: content},
    }


PROPERTIES = {
    "type": "object",
    "additionalProperties": {
        "oneOf": [
            _value("MetadataStringValue", "string_value", TEXT),
            _value("MetadataDoubleValue", "double_value", {"type": "number"}),
            _value("MetadataBoolValue", "bool_value", {"type": "boolean"}),
            _value("MetadataIntValue", "int_value", TEXT),
        ]
    },
}
BASE = {"customProperties": PROPERTIES, "description": TEXT, "externalId": TEXT}
ABOUT = {"readme", "maturity", "provider", "logo", "license", "licenseLink", "libraryName", "owner"}
ARTIFACT = {
    *("uri", "modelFormatName", "modelFormatVersion", "storageKey", "storagePath"),
    *("serviceAccountName", "modelSourceKind", "modelSourceClass", "modelSourceGroup"),
    *("modelSourceId", "modelSourceName"),
}
STATES = ["UNKNOWN", "PENDING", "LIVE", "MARKED_FOR_DELETION", "DELETED", "ABANDONED", "REFERENCE"]


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {**BASE, **properties},
    }


NAME = {"type": "string", "minLength": 1}
CREATE = {
    "registered_models": _object(["name"], name=NAME, state=LIVE, **dict.fromkeys(ABOUT, TEXT)),
    "model_versions": _object(
        ["name", "registeredModelId"], name=NAME, registeredModelId=ID, state=LIVE, author=TEXT
    ),
    "model_artifacts": _object(
        ["artifactType"],
        name=NAME,
        artifactType={"const": "model-artifact"},
        state={"enum": STATES},
        **dict.fromkeys(ARTIFACT, TEXT),
    ),
}
UPDATE = {
    "registered_models": _object([], state=LIVE, **dict.fromkeys(ABOUT, TEXT)),
}
PARENT = {"model_version": "registeredModelId", "model_artifact": "modelVersionId"}


class ModelRegistry:
    """The server, what it holds by kind, and every request as it came."""

    def __init__(self) -> None:
        self.held: dict[str, list[dict[str, Any]]] = {kind: [] for kind in CREATE}
        self.requests: list[tuple[str, str, Any]] = []
        self.refused: list[str] = []
        self.failing = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(
        self, method: str, path: str, query: dict[str, str], content: Any
    ) -> tuple[int, Any]:
        """Status and body for a request."""
        self.requests.append((method, path, content))
        if self.failing:
            return 503, {"code": "503", "message": "the database is away"}
        try:
            return getattr(self, f"_{method.lower()}")(path, query, content)
        except jsonschema.ValidationError as error:
            self.refused.append(f"{method} {path}: {error.message}")
            return 400, {"code": "400", "message": error.message}

    def _get(self, path: str, query: dict[str, str], _: Any) -> tuple[int, Any]:
        kind = f"{path}s"
        if kind not in self.held or not re.fullmatch(r"[\x20-\x7E]+", query["name"]):
            return self._unknown("GET", path)
        found = [row for row in self.held[kind] if row["name"] == query["name"]]
        if path in PARENT:
            parent = query["parentResourceId"]
            found = [row for row in found if row[PARENT[path]] == parent]
        return (200, found[0]) if found else (404, {"code": "404", "message": "not found"})

    def _post(self, path: str, _: dict[str, str], content: Any) -> tuple[int, Any]:
        below = re.fullmatch(r"model_versions/(\d+)/artifacts", path)
        kind = "model_artifacts" if below else path
        if kind not in CREATE or (kind == "model_artifacts") != bool(below):
            return self._unknown("POST", path)
        jsonschema.validate(content, CREATE[kind])
        parent = {"modelVersionId": below[1]} if below else {}
        row = {**content, **parent}
        same = [PARENT.get(kind.removesuffix("s"), ""), "name"]
        if any(all(old.get(f) == row.get(f) for f in same) for old in self.held[kind]):
            return 409, {"code": "409", "message": "it is there"}
        self.held[kind].append({**row, "id": str(len(self.held[kind]) + 1)})
        return 201, self.held[kind][-1]

    def _patch(self, path: str, _: dict[str, str], content: Any) -> tuple[int, Any]:
        kind, _, number = path.partition("/")
        if kind not in UPDATE:
            return self._unknown("PATCH", path)
        jsonschema.validate(content, UPDATE[kind])
        row = self.held[kind][int(number) - 1]
        row |= content
        return 200, row

    def _unknown(self, method: str, path: str) -> tuple[int, Any]:
        self.refused.append(f"{method} {path}: no such path")
        return 400, {"code": "400", "message": "no such path"}


def _handler(registry: ModelRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = parts.path.removeprefix(f"{API}/")
            content = json.loads(body) if body else None
            status, answer = registry.answer(self.command, path, query, content)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _do

        def log_message(self, *_: object) -> None:
            pass

    return Handler
