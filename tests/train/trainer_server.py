"""A small Kubernetes API on the loopback: TrainJobs, the pods they started and their logs."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/levelseq/trainjobs"
PODS = "/api/v1/namespaces/levelseq/pods"


class Cluster(ThreadingHTTPServer):
    """Keeps TrainJobs as an API server does: names are unique, every change has a version.

    `ends` is asked when a job is watched: it gives the job's next status, or nothing while nothing
    changes. `log` is what the one pod of a job says.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.ends: list[dict[str, Any]] = []
        self.log = ""
        self.refuses: tuple[int, str] | None = None
        self.version = 0
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def put(self, job: dict[str, Any]) -> dict[str, Any]:
        """A job as the server keeps it."""
        self.version += 1
        job["metadata"].setdefault("uid", f"uid-{self.version}")
        job["metadata"]["resourceVersion"] = str(self.version)
        self.jobs[job["metadata"]["name"]] = job
        return job

    def stop(self) -> None:
        """End the server."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def kubeconfig(self, folder: Path) -> Path:
        """A file that names this server."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [
                {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}
            ],
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "levelseq"}}
            ],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(content))
        return path


class _Handler(BaseHTTPRequestHandler):
    server: Cluster

    def do_POST(self) -> None:
        job = self._body()
        self._note("POST")
        if self.server.refuses:
            self._status(*self.server.refuses)
        elif job["metadata"]["name"] in self.server.jobs:
            self._status(409, "AlreadyExists")
        else:
            self._answer(self.server.put(job), 201)

    def do_GET(self) -> None:
        url = urlparse(self.path)
        self._note("GET")
        asked = parse_qs(url.query)
        if url.path == JOBS and "watch" in asked:
            self._watch(asked["fieldSelector"][0].partition("=")[2])
        elif url.path.startswith(f"{JOBS}/"):
            self._one(url.path.rpartition("/")[2])
        elif url.path == PODS:
            name = asked["labelSelector"][0].partition("=")[2]
            pod = {"metadata": {"name": f"{name}-node-0-0"}, "status": {"phase": "Failed"}}
            self._answer({"kind": "PodList", "apiVersion": "v1", "items": [pod]})
        elif url.path.endswith("/log"):
            self._send(200, self.server.log.encode(), "text/plain")
        else:
            self._status(404, "NotFound")

    def do_DELETE(self) -> None:
        body = self._body()
        self._note("DELETE")
        name = self.path.rpartition("/")[2]
        assert body["preconditions"]["uid"] == self.server.jobs[name]["metadata"]["uid"]
        self._answer(self.server.jobs.pop(name))

    def _one(self, name: str) -> None:
        job = self.server.jobs.get(name)
        if job is None:
            self._status(404, "NotFound")
        else:
            self._answer(job)

    def _watch(self, name: str) -> None:
        """One event, then the stream ends, as it does after its time is over."""
        if not self.server.ends:
            self._status(410, "Expired")
            return
        job = self.server.jobs[name]
        job["status"] = self.server.ends.pop(0)
        self.server.put(job)
        self._answer({"type": "MODIFIED", "object": job})

    def _note(self, verb: str) -> None:
        self.server.requests.append((verb, urlparse(self.path).path))

    def _body(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return content

    def _status(self, code: int, reason: str) -> None:
        self._answer({"kind": "Status", "code": code, "reason": reason}, code)

    def _answer(self, content: dict[str, Any], code: int = 200) -> None:
        self._send(code, json.dumps(content).encode() + b"\n", "application/json")

    def _send(self, code: int, payload: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        pass
