"""Azurite, an emulator of Azure's stores, on a free port with one empty container."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

ACCOUNT = "devstoreaccount1"
# Azurite's published key: every emulator has it.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-12-02"


def program() -> str | None:
    """`azurite-blob`, from the path or from `make azurite`."""
    made = Path(__file__).parents[2] / ".azurite" / "node_modules" / ".bin" / "azurite-blob"
    return shutil.which("azurite-blob") or (str(made) if made.exists() else None)


@contextlib.contextmanager
def running(command: str, folder: Path, container: str) -> Iterator[str]:
    """The account's address while Azurite runs with an empty container."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    server = subprocess.Popen(
        [command, *words, "--blobPort", str(port)], cwd=folder, stdout=subprocess.DEVNULL
    )
    try:
        account = f"http://127.0.0.1:{port}/{ACCOUNT}"
        _make(account, container)
        yield account
    finally:
        server.terminate()
        server.wait(20)


def _make(account: str, container: str) -> None:
    """Put the container, asking until the server answers."""
    for _ in range(150):
        try:
            with urllib.request.urlopen(_signed(account, container), timeout=5):
                return
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.2)
    raise TimeoutError("Azurite does not answer")


def _signed(account: str, container: str) -> urllib.request.Request:
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION}
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    resource = f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
    told = "PUT" + "\n" * 12 + lines + resource
    digest = hmac.new(base64.b64decode(KEY), told.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    url = f"{account}/{container}?restype=container"
    return urllib.request.Request(url, method="PUT", headers=headers)
