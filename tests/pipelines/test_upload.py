"""What CI does on a release: versions at an API server; here one on the loopback."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
import yaml
from loopback import Answering, serving

from levelseq_pipelines.pipelines import PIPELINES
from levelseq_pipelines.services import api_server
from levelseq_pipelines.upload import main

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "pipelines" / "compiled"
API = "/apis/v2beta1/pipelines"


class ApiServer(Answering):
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
        assert b"schemaVersion: 2.1.0" in body or url.path == API
        if url.path.endswith("upload_version"):
            assert asked["name"] not in self.server.versions[asked["pipelineid"]]
            self.server.versions[asked["pipelineid"]].append(asked["name"])
            self.answer({"display_name": asked["name"]})
        elif url.path.endswith("upload"):
            self.made(asked["name"], [asked["name"]])
        else:
            self.made(json.loads(body)["name"], [])

    def made(self, name, versions):
        """A new pipeline; one that is made by an upload has a version of its own name."""
        self.server.versions[name] = versions
        self.answer({"pipeline_id": name, "display_name": name})

    def answer(self, content):
        self.answer_json(200, content)


@pytest.fixture
def served():
    with serving(ApiServer, versions={}, tokens=set()) as server:
        yield server


class Same(Answering):
    """The same status for every request."""

    def do_GET(self):
        self.server.asked += 1
        self.answer_json(self.server.status, {"error": "no"})


@pytest.fixture
def same():
    with serving(Same, status=200, asked=0) as server:
        yield server


def test_each_release_is_a_version_and_a_second_upload_changes_nothing(served, monkeypatch, capsys):
    monkeypatch.setenv("KFP_HOST", served.url)
    monkeypatch.setenv("KFP_TOKEN", "of-ci")
    names = {pipeline.name for pipeline in PIPELINES.values()}
    for version in ("v1", "v2"):
        assert main([str(COMPILED), "--version", version]) == 0
        said = capsys.readouterr().out.splitlines()
        assert {line for line in said if line.endswith(version)} == {
            f"{name} {version}" for name in names
        }
    kept = json.dumps(served.versions)
    assert main([str(COMPILED), "--version", "v2"]) == 0
    assert json.dumps(served.versions) == kept
    assert served.versions.keys() == names
    assert {tuple(v) for v in served.versions.values()} == {("v1", "v2")}
    assert served.tokens == {"Bearer of-ci"}


@pytest.mark.parametrize(("status", "code"), [(401, 2), (403, 2), (429, 75), (503, 75)])
def test_what_the_server_refuses_is_one_line(same, capsys, caplog, monkeypatch, status, code):
    monkeypatch.setattr(api_server, "_SECONDS_BETWEEN", 0.0)
    same.status = status
    host = same.url
    assert main([str(COMPILED), "--version", "v1", "--host", host]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"levelseq: {host}: the API server ")
    assert str(status) in line
    assert not caplog.records
    # What a retry may mend is asked for again, a refusal is an answer.
    assert same.asked == (1 if code == 2 else 5)


def test_a_shell_sees_no_traceback_where_a_token_is_not_known(same):
    same.status = 401
    told = [str(COMPILED), "--version", "v1", "--host", same.url]
    done = subprocess.run(
        [sys.executable, "-m", "levelseq_pipelines.upload", *told], capture_output=True, text=True
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the API server refuses the request: 401 Unauthorized (give a token" in line


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
