"""Google's and Azure's stores on the loopback, beside the S3 server of all tests."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import azurite
import pytest
from google_server import GoogleServer

from levelseq.store.connect import forget_connections


@pytest.fixture(scope="session")
def google_server() -> Iterator[GoogleServer]:
    """A server with the bucket `levelseq-tests`, which the environment names for the session."""
    server = GoogleServer()
    server.objects["levelseq-tests"] = {}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        forget_connections()
        yield server
    forget_connections()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gs(google_server: GoogleServer) -> str:
    """A Google address of this test's own, with nothing there."""
    return f"gs://levelseq-tests/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def azure_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Azurite's account, which the environment names for the session."""
    command = azurite.program()
    if command is None:
        pytest.skip("Azurite is not here (`make azurite`, or azurite-blob on the path)")
    with (
        azurite.running(command, tmp_path_factory.mktemp("azurite"), "levelseq-tests") as account,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AZURE_STORAGE_ACCOUNT_NAME", azurite.ACCOUNT)
        patch.setenv("AZURE_STORAGE_ACCOUNT_KEY", azurite.KEY)
        patch.setenv("AZURE_STORAGE_ENDPOINT", account)
        forget_connections()
        yield account
    forget_connections()


@pytest.fixture
def az(azure_account: str) -> str:
    """An Azure address of this test's own, with nothing there."""
    return f"az://levelseq-tests/{uuid.uuid4().hex[:12]}"
