"""`normalize_cohort` as compiled, each task in a container, on an S3 server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from engine import Engine
from kfp import components, local

from levelseq.registry import Registry
from levelseq.simulate import SimulateParams, study
from levelseq.store import join, open_store, read_json

pytestmark = pytest.mark.containers
COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"
COLUMNS = {"batch": "site>lab", "label": "cell_type", "condition": "condition", "donor": "donor"}
# Levelled the classical way in seconds; test_spot.py trains a network.
STUDY = SimulateParams(
    cells=196, genes=1000, types=3, tree="site=2,lab=2", batch_sd=0.5, condition_genes=40
)
AWS = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


@pytest.fixture
def docker_api(engine: Engine, tmp_path: Path) -> Iterator[None]:
    """The API that kfp's DockerRunner speaks: docker's own, or podman's on a socket."""
    if engine.program == "docker":
        yield
        return
    socket = tmp_path / "api.sock"
    words = ("system", "service", "--time=0", f"unix://{socket}")
    service = engine.start(*words, log=tmp_path / "service.log")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{socket}")
        try:
            until = time.monotonic() + 30
            while not socket.exists() and time.monotonic() < until:
                time.sleep(0.1)
            yield
        finally:
            service.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.wait(timeout=10)
            service.kill()


@pytest.fixture
def in_containers(docker_api: None, s3: str, tmp_path: Path) -> Iterator[None]:
    """kfp's runner: tasks under the strictest policy, with the object store's address."""
    # Tasks are not root: what this process makes for them anyone may write into.
    before = os.umask(0)
    root, workspace = tmp_path / "root", tmp_path / "workspace"
    for folder in (root, workspace):
        folder.mkdir()
    local.init(
        local.DockerRunner(
            network_mode="host",
            read_only=True,
            tmpfs={"/tmp": ""},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            environment={name: os.environ[name] for name in AWS} | {"OMP_NUM_THREADS": "1"},
        ),
        pipeline_root=str(root),
        workspace_root=str(workspace),
    )
    yield
    os.umask(before)


def compiled(pipeline: str, image: str) -> str:
    """The shipped YAML with every task in one image."""
    specification, *platforms = yaml.safe_load_all((COMPILED / f"{pipeline}.yaml").read_text())
    for executor in specification["deploymentSpec"]["executors"].values():
        executor["container"]["image"] = image
    return yaml.safe_dump_all([specification, *platforms], sort_keys=True)


def test_a_study_goes_from_deposits_to_a_champion_in_containers(
    image, in_containers, s3, tmp_path, capfd
):
    study.write(STUDY, join(s3, "deposits"))
    workspace = join(s3, "w")
    run = components.load_component_from_text(compiled("normalize_cohort", image))
    sheet = join(s3, "deposits", "deposits.csv")
    run(deposits=[sheet], workspace=workspace, name="study", run="r1", **COLUMNS)
    verdict = read_json(join(workspace, "runs", "r1", "verdict.json"))
    assert verdict["schema"] == "levelseq.verdict/1"
    assert verdict["data"] == "release", verdict["reasons"]
    assert verdict["model_decision"] == "promote"
    assert {gate["outcome"] for gate in verdict["gates"]} >= {"pass"}
    champion = Registry(workspace, "study").champion()
    assert champion["run"] == "r1"
    assert champion["model"] == verdict["model"]
    store = open_store(workspace)
    assert b"<html" in store.get("runs/r1/report.html")
    assert not [path for path in store.list() if path.startswith("checkpoints/")]
    said = capfd.readouterr().out
    assert said.count("Found image") >= 8
