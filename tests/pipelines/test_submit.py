"""`levelseq submit` speaks to an API server; here one on the loopback that only writes down."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

WORDS = (
    "--workspace",
    "s3://bucket/w",
    "--deposits",
    "s3://bucket/sheet.csv",
    "--batch",
    "site>run",
    "--service-account",
    "levelseq",
)


class ApiServer(BaseHTTPRequestHandler):
    """Answers as Kubeflow Pipelines' API does, as far as starting a run asks."""

    def do_GET(self):
        if "healthz" in self.path:
            self.answer({"multi_user": False})
        else:
            self.answer({"experiments": [{"experiment_id": "e1", "display_name": "levelseq"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, body))
        self.server.tokens.add(self.headers["Authorization"])
        self.answer({"run_id": "run-1", "experiment_id": "e1"})

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
    server.posted = []
    server.tokens = set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_submit_starts_a_run_with_the_pipeline_and_its_arguments(levelseq, api_server, tmp_path):
    host = f"http://127.0.0.1:{api_server.server_port}"
    (tmp_path / "token").write_text("of-the-pod")
    token = {"KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "token")}
    done = levelseq("submit", "--host", host, "--pipeline", "map_new_data", *WORDS, **token)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{host}/#/runs/details/run-1"
    assert api_server.tokens == {"Bearer of-the-pod"}
    path, run = next(item for item in api_server.posted if item[0].endswith("/runs"))
    assert path == "/apis/v2beta1/runs"
    assert run["service_account"] == "levelseq"
    parameters = run["runtime_config"]["parameters"]
    assert parameters["deposits"] == ["s3://bucket/sheet.csv"]
    assert parameters["batch"] == "site>run"
    assert parameters["workspace"] == "s3://bucket/w"
    spec = run["pipeline_spec"].get("pipeline_spec", run["pipeline_spec"])
    assert spec["pipelineInfo"]["name"] == "levelseq-map-new-data"


def test_an_api_server_that_does_not_answer_is_worth_another_try(levelseq):
    done = levelseq("submit", "--host", "http://127.0.0.1:9", *WORDS)
    assert done.returncode == 75, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("levelseq: http://127.0.0.1:9")
