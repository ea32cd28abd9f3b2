"""Sinks are told what was decided, once; and nothing that happens to one harms a run."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from model_registry import ModelRegistry
from settling import Challenger, Study, make_verdict

from levelseq.cohort import manifest_json
from levelseq.recalibrate import step
from levelseq.recalibrate.params import RecalibrateParams
from levelseq.registry import Registry
from levelseq.registry.sinks import tell_champion
from levelseq.registry.sinks.http import JsonServer
from levelseq.store import join, open_store

HERE = Path(__file__).parents[2]
VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_REGISTRY_URI")


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """No sink but those that a test sets."""
    for name in (*VARIABLES, "MLFLOW_EXPERIMENT_NAME", "LEVELSEQ_MODEL_REGISTRY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def registry(monkeypatch):
    """A model registry on the loopback that the environment names."""
    server = ModelRegistry()
    monkeypatch.setenv("LEVELSEQ_MODEL_REGISTRY", f"{server.address}/")
    yield server
    server.close()


@pytest.fixture(scope="module")
def mlflow_address(tmp_path_factory):
    """`mlflow server` with its database in a folder of this test."""
    command = os.environ.get("LEVELSEQ_MLFLOW") or shutil.which("mlflow")
    own = HERE / ".venv-mlflow" / "bin" / "mlflow"
    command = command or (str(own) if own.exists() else "")
    if not command:
        pytest.skip("there is no mlflow server here (make test-sinks installs one)")
    folder, port = tmp_path_factory.mktemp("mlflow"), _free_port()
    server = subprocess.Popen(
        [
            *(command, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=60)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(address, server):
    for _ in range(240):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail("the server did not start in two minutes")


def settled(tmp_path, verdict, ladder=()):
    """A study after recalibrate, with the manifests of its models."""
    study = Study(str(tmp_path / "workspace"), verdict)
    for key in ("m-new", "m-old", "m-adapted"):
        model = {"schema": "levelseq.model/1", "key": key, "class": "VAE", "cohort": "9f"}
        folder = open_store(join(study.workspace, "models", key))
        folder.put("model.json", manifest_json(model))
        folder.put("model.safetensors", key.encode())
    if verdict["champion"]:
        Registry(study.workspace, "study").promote(verdict["champion"], "r0", ["it passed"])
    settle(study, ladder)
    return study


def settle(study, ladder=()):
    return step.run(RecalibrateParams(), study.verdict, study.workspace, "study", ladder)


def told(study):
    """{kind: {name: content}} of a model registry's rows."""
    return {kind: {row["name"]: row for row in rows} for kind, rows in study.held.items()}


def texts(row):
    return {k: v.get("string_value", v.get("double_value")) for k, v in row.items()}


def test_no_sink_is_told_unless_the_environment_names_one(tmp_path, monkeypatch) -> None:
    def opened(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", opened)
    settled(tmp_path, make_verdict("promote"))


def test_the_model_registry_gets_a_version_by_pointer_and_digest(tmp_path, registry) -> None:
    study = settled(tmp_path, make_verdict("promote"))
    assert registry.refused == []
    rows = told(registry)
    assert texts(rows["registered_models"]["study"]["customProperties"]) == {"champion": "m-new"}
    about = texts(rows["model_versions"]["m-new"]["customProperties"])
    assert about["run"] == study.run
    assert about["data"] == "release"
    assert about["mixing.ilisi"] == 0.6
    assert about["scib_total"] == 0.8
    artifact = rows["model_artifacts"]["m-new"]
    folder = join(study.workspace, "models", "m-new")
    assert artifact["uri"] == folder
    assert artifact["modelSourceId"] == study.run
    files = {name: open_store(folder).get(name) for name in ("model.json", "model.safetensors")}
    lines = "".join(f"{n}\0{hashlib.sha256(c).hexdigest()}\n" for n, c in sorted(files.items()))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    assert texts(artifact["customProperties"]) == {"sha256": digest}
    sent = json.dumps(registry.requests)
    assert "first: promote" not in sent, "reasons may name batches: they stay in the verdict"


def test_telling_again_adds_nothing(tmp_path, registry) -> None:
    study = settled(tmp_path, make_verdict("promote"))
    before = json.dumps(registry.held)
    settle(study)
    assert json.dumps(registry.held) == before
    assert registry.refused == []


def test_a_model_that_is_not_promoted_is_no_version(tmp_path, registry) -> None:
    settled(tmp_path, make_verdict("keep", champion="m-old"))
    assert registry.held["model_versions"] == []


def test_the_challenger_that_was_taken_is_the_version(tmp_path, registry) -> None:
    from levelseq.recalibrate.challenge import Rung

    first = make_verdict("recalibrate", champion="m-old", model="m-old", drift="fail")
    better = make_verdict("promote", champion="m-old", model="m-adapted")
    settled(tmp_path, first, (Rung("adapters", Challenger(better)),))
    rows = told(registry)
    assert list(rows["model_versions"]) == ["m-adapted"]
    assert texts(rows["registered_models"]["study"]["customProperties"]) == {
        "champion": "m-adapted"
    }


def test_a_rollback_is_told(tmp_path, registry) -> None:
    study = settled(tmp_path, make_verdict("promote", champion="m-old"))
    Registry(study.workspace, "study").rollback("a mistake")
    tell_champion(study.workspace, "study")
    (row,) = registry.held["registered_models"]
    assert texts(row["customProperties"]) == {"champion": "m-old"}


def test_a_sink_that_fails_is_one_line_and_the_next_try_mends_it(
    tmp_path, registry, capsys
) -> None:
    registry.failing = True
    study = settled(tmp_path, make_verdict("promote"))
    assert Registry(study.workspace, "study").champion()["model"] == "m-new"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "not told" in line]
    assert json.loads(line)["message"] == (
        f"the Kubeflow model registry was not told: {registry.address} answered 503 "
        "the database is away"
    )
    registry.failing = False
    settle(study)
    assert list(told(registry)["model_versions"]) == ["m-new"]


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://user:secret@127.0.0.1:9", "http://127.0.0.1:9 did not answer"),
        ("sqlite:///mlflow.db", "sqlite:// is not http or https"),
    ],
)
def test_what_is_no_server_is_one_line_without_credentials(
    tmp_path, monkeypatch, capsys, uri, why
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    study = settled(tmp_path, make_verdict("promote"))
    assert study.final()["model_decision"] == "promote"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "not told" in line]
    assert why in line
    assert "secret" not in line


def test_mlflow_gets_a_run_and_the_champion_as_a_version(
    tmp_path, monkeypatch, capsys, mlflow_address
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_address)
    study = settled(tmp_path, make_verdict("promote", champion="m-old"))
    settle(study)
    assert "not told" not in capsys.readouterr().err
    server = JsonServer(f"{mlflow_address}/api/2.0/mlflow")
    found = server.get("experiments/get-by-name", experiment_name="levelseq")
    runs = server.post("runs/search", {"experiment_ids": [found["experiment"]["experiment_id"]]})[
        "runs"
    ]
    assert len(runs) == 1, "telling again adds no run"
    assert runs[0]["info"]["status"] == "FINISHED"
    metrics = {m["key"]: m["value"] for m in runs[0]["data"]["metrics"]}
    assert metrics == {"mixing.ilisi": 0.6, "drift.latent": 0.01, "scib_total": 0.8}
    tags = {tag["key"]: tag["value"] for tag in runs[0]["data"]["tags"]}
    verdict = study.store.get("verdict.json")
    assert tags["levelseq.verdict.uri"] == study.verdict
    assert tags["levelseq.verdict.sha256"] == hashlib.sha256(verdict).hexdigest()
    assert tags["levelseq.data"] == "release"
    model = server.get("registered-models/get", name="study")["registered_model"]
    assert model["aliases"] == [{"alias": "champion", "version": "1"}]
    (version,) = model["latest_versions"]
    about = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert about["levelseq.model"] == "m-new"
    assert about["levelseq.uri"] == join(study.workspace, "models", "m-new")
    assert version["run_id"] == runs[0]["info"]["run_id"]
    # The champion before was never told: MLflow has no version of it, and so no champion.
    Registry(study.workspace, "study").rollback("a mistake")
    tell_champion(study.workspace, "study")
    model = server.get("registered-models/get", name="study")["registered_model"]
    assert not model.get("aliases")


def test_mlflow_takes_the_run_that_the_environment_names(
    tmp_path, monkeypatch, mlflow_address
) -> None:
    server = JsonServer(f"{mlflow_address}/api/2.0/mlflow")
    experiment = server.post("experiments/create", {"name": "theirs"})["experiment_id"]
    run = server.post("runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_address)
    monkeypatch.setenv("MLFLOW_RUN_ID", run)
    settled(tmp_path, make_verdict("keep", champion="m-old"))
    found = server.get("runs/get", run_id=run)["run"]
    assert {m["key"] for m in found["data"]["metrics"]} >= {"mixing.ilisi"}
    # Whoever began the run ends it.
    assert found["info"]["status"] == "RUNNING"
