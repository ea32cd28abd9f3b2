"""What several tests need: the real data, and an S3 server on the loopback."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import jsonschema
import pytest
from moto.server import ThreadedMotoServer

from levelseq.schemas import schema_text
from levelseq.store.connect import forget_connections


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data; tests that need it are skipped where it is absent."""
    root = Path(os.environ.get("SHARED") or Path(__file__).parents[2] / "shared")
    if not (root / "data").is_dir():
        pytest.skip("the real data are not here (set SHARED, or put shared/ beside the repository)")
    return root


@pytest.fixture(scope="session", autouse=True)
def verdicts_fit_their_schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """When all is done: every verdict that validate and recalibrate have left on the disk.

    Verdicts that a test has written by hand hold no charts or params and are passed over.
    """
    yield
    schema = json.loads(schema_text("verdict"))
    checked = jsonschema.Draft202012Validator(schema)
    for path in _verdicts(tmp_path_factory.getbasetemp()):
        verdict = json.loads(path.read_bytes())
        if {"params", "charts"} <= verdict.keys():
            checked.validate(verdict)
            unknown = verdict.keys() - schema["properties"].keys()
            assert not unknown, f"{path}: the schema does not tell of {unknown}"


def _verdicts(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.endswith(".zarr")]
        if "verdict.json" in files:
            yield Path(place) / "verdict.json"


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """`s3://levelseq-tests` on moto's server, which the environment names for the session."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        forget_connections()
        boto3.client("s3").create_bucket(Bucket="levelseq-tests")
        yield "s3://levelseq-tests"
    forget_connections()
    server.stop()


@pytest.fixture
def s3(s3_bucket: str) -> str:
    """An S3 address of this test's own, with nothing there."""
    return f"{s3_bucket}/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def forget_aws() -> Callable[[], None]:
    """To be called when a test has changed the environment that boto3 reads."""
    return forget_connections
