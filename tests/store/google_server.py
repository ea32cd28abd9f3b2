"""Google's object API as far as the store asks, with its conditions; the emulators have none.

Checked against the API's reference: an upload with `ifGenerationMatch` (0: nothing there) that
does not hold answers 412, a listing has pages, a download obeys `Range`.
"""

from __future__ import annotations

import base64
import email
import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

import google_crc32c

PAGE = 500


class Held(NamedTuple):
    """One object: what was uploaded, its generation, and the key that was named."""

    content: bytes
    generation: int
    kms_key: str


class GoogleServer(ThreadingHTTPServer):
    """Buckets in memory; `objects` is bucket -> name -> Held."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, dict[str, Held]] = {}
        self.generations = itertools.count(1_700_000_000_000_000)
        self.lock = threading.Lock()
        self.uploads: dict[str, tuple[str, str, dict[str, str]]] = {}
        # Refuse every read; write an object anew after each look at its metadata; be busy so often.
        self.denied = False
        self.restless = False
        self.busy = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: GoogleServer

    def do_GET(self) -> None:
        bucket, name, query = self.asked()
        if self.server.denied:
            return self.answer(403, {"error": {"code": 403, "message": "forbidden"}})
        if bucket not in self.server.objects:
            return self.answer(404, {"error": {"code": 404, "message": f"no bucket {bucket}"}})
        if not name:
            return self.listing(bucket, query)
        held = self.server.objects[bucket].get(name)
        if held is None or query.get("generation", str(held.generation)) != str(held.generation):
            return self.answer(404, {"error": {"code": 404, "message": f"no object {name}"}})
        if query.get("ifGenerationMatch", str(held.generation)) != str(held.generation):
            return self.answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        if query.get("alt") == "media":
            return self.media(held)
        if self.server.restless:
            newer = held._replace(generation=next(self.server.generations))
            self.server.objects[bucket][name] = newer
        return self.answer(200, self.resource(bucket, name, held))

    def do_DELETE(self) -> None:
        bucket, name, _ = self.asked()
        gone = self.server.objects.get(bucket, {}).pop(name, None)
        self.answer(204 if gone else 404, None if gone else {"error": {"code": 404}})

    def do_POST(self) -> None:
        bucket, _, query = self.asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if query["uploadType"] == "resumable":
            upload = str(next(self.server.generations))
            self.server.uploads[upload] = bucket, json.loads(body)["name"], query
            place = f"http://{self.headers['Host']}/resume?upload_id={upload}"
            return self.answer(200, {}, {"Location": place})
        meta, content = _parts(self.headers["Content-Type"], body)
        if "crc32c" in meta and meta["crc32c"] != _crc32c(content):
            return self.answer(400, {"error": {"code": 400, "message": "crc32c"}})
        return self.insert(bucket, meta["name"], content, query)

    def do_PUT(self) -> None:
        """One part of a resumable upload; the client sends what it holds in one."""
        query = {key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()}
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        bucket, name, options = self.server.uploads.pop(query["upload_id"])
        self.insert(bucket, name, content, options)

    def insert(self, bucket: str, name: str, content: bytes, query: dict[str, str]) -> None:
        with self.server.lock:
            if bucket not in self.server.objects:
                return self.answer(404, {"error": {"code": 404, "message": f"no bucket {bucket}"}})
            there = self.server.objects[bucket].get(name)
            generation = there.generation if there else 0
            if query.get("ifGenerationMatch", str(generation)) != str(generation):
                return self.answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
            held = Held(content, next(self.server.generations), query.get("kmsKeyName", ""))
            self.server.objects[bucket][name] = held
        return self.answer(200, self.resource(bucket, name, held))

    def listing(self, bucket: str, query: dict[str, str]) -> None:
        prefix, start = query.get("prefix", ""), int(query.get("pageToken", 0))
        names = sorted(n for n in self.server.objects[bucket] if n.startswith(prefix))
        held = self.server.objects[bucket]
        items = [
            {"name": name, "generation": str(held[name].generation)}
            for name in names[start : start + PAGE]
        ]
        page: dict[str, Any] = {"items": items}
        if start + PAGE < len(names):
            page["nextPageToken"] = str(start + PAGE)
        self.answer(200, page)

    def media(self, held: Held) -> None:
        content, status, headers = held.content, 200, {}
        if wanted := self.headers.get("Range", ""):
            first, last = wanted.removeprefix("bytes=").split("-")
            if int(first) >= len(content):
                return self.answer(416, {"error": {"code": 416}})
            end = min(int(last) if last else len(content) - 1, len(content) - 1)
            status, content = 206, content[int(first) : end + 1]
            headers = {"Content-Range": f"bytes {first}-{end}/{len(held.content)}"}
        else:
            headers = {"X-Goog-Hash": f"crc32c={_crc32c(content)}"}
        self.answer(status, content, headers | {"X-Goog-Generation": str(held.generation)})

    def resource(self, bucket: str, name: str, held: Held) -> dict[str, str]:
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "generation": str(held.generation),
            "size": str(len(held.content)),
            "crc32c": _crc32c(held.content),
            "mediaLink": f"http://{self.headers['Host']}/download/storage/v1/b/{bucket}"
            f"/o/{quote(name, safe='')}?generation={held.generation}&alt=media",
        }

    def asked(self) -> tuple[str, str, dict[str, str]]:
        """Bucket, object's name (may be empty) and the query of a request."""
        url = urlsplit(self.path)
        parts = url.path.partition("/b/")[2].split("/")
        query = {key: value[0] for key, value in parse_qs(url.query).items()}
        return parts[0], unquote(parts[2]) if len(parts) > 2 else "", query

    def parse_request(self) -> bool:
        """Every request comes through here; a busy server does none of them."""
        if not super().parse_request():
            return False
        if self.server.busy:
            self.server.busy -= 1
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(503, {"error": {"code": 503, "message": "busy"}})
            return False
        return True

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        if content is None:
            body = b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if not isinstance(content, bytes):
            self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


def _crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


def _parts(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The metadata and the bytes of a multipart upload."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    boundary = email.message_from_bytes(head).get_boundary()
    assert boundary
    _, meta, content, _ = body.split(b"--" + boundary.encode(), 3)
    return (
        json.loads(meta.partition(b"\r\n\r\n")[2]),
        content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"),
    )
