"""What CI does on a release: versions at an API server; here one on the loopback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
import yaml

from levelseq_pipelines.pipelines import PIPELINES
from levelseq_pipelines.upload import main

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "pipelines" / "compiled"
API = "/apis/v2beta1/pipelines"


class ApiServer(BaseHTTPRequestHandler):
    """Pipelines and their versions, as far as uploading asks."""

    def do_GET(self):
        url = urlparse(self.path)
        if "healthz" in url.path:
            self.answer({"multi_user": False})
        elif url.path == API:
            (asked,) = json.loads(parse_qs(url.query)["filter"][0])["predicates"]
            found = [p for p in self.server.versions if p == asked["stringValue"]]
            self.answer({"pipelines": [{"pipeline_id": p, "display_name": p} for p in found]})
        else:
            versions = self.server.versions[url.path.split("/")[-2]]
            self.answer({"pipeline_versions": [{"display_name": v} for v in versions]})

    def do_POST(self):
        url = urlparse(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.server.tokens.add(self.headers["Authorization"])
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert b"schemaVersion: 2.1.0" in body
        if url.path.endswith("upload_version"):
            assert asked["name"] not in self.server.versions[asked["pipelineid"]]
            self.server.versions[asked["pipelineid"]].append(asked["name"])
            self.answer({"display_name": asked["name"]})
        else:
            self.server.versions[asked["name"]] = [asked["name"]]
            self.answer({"pipeline_id": asked["name"], "display_name": asked["name"]})

    def answer(self, content):
        payload = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *words):
        pass


@pytest.fixture
def api_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
    server.versions, server.tokens = {}, set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_release_is_a_version_and_a_second_upload_changes_nothing(
    api_server, monkeypatch, capsys
):
    monkeypatch.setenv("KFP_HOST", f"http://127.0.0.1:{api_server.server_port}")
    monkeypatch.setenv("KFP_TOKEN", "of-ci")
    names = {pipeline.name for pipeline in PIPELINES.values()}
    for version in ("v1", "v2"):
        assert main([str(COMPILED), "--version", version]) == 0
        said = capsys.readouterr().out.splitlines()
        assert {line for line in said if line.endswith(version)} == {
            f"{name} {version}" for name in names
        }
    kept = json.dumps(api_server.versions)
    assert main([str(COMPILED), "--version", "v2"]) == 0
    assert json.dumps(api_server.versions) == kept
    assert api_server.versions.keys() == names
    assert {tuple(v[1:]) for v in api_server.versions.values()} == {("v1", "v2")}
    assert api_server.tokens == {"Bearer of-ci"}


def test_a_folder_without_pipelines_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("KFP_HOST", raising=False)
    assert main([str(tmp_path), "--version", "v1"]) == 2
    assert capsys.readouterr().err.startswith("levelseq: --host: ")


def test_the_workflow_compiles_on_each_push_and_uploads_what_it_pinned():
    content = yaml.safe_load((ROOT / ".github" / "workflows" / "pipelines.yaml").read_text())
    assert "push" in content[True]  # YAML reads `on` as true
    jobs = {
        name: " ".join(step.get("run", "") for step in job["steps"])
        for name, job in content["jobs"].items()
    }
    assert "levelseq compile --out" in jobs["compile"]
    assert "--pinned" in jobs["upload"]
    assert "levelseq_pipelines.upload" in jobs["upload"]
    assert content["permissions"] == {"contents": "read"}
