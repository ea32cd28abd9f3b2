"""The CPU image, built once for all tests of this folder."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine import Engine, able_to_run, installed_engine

IMAGES = Path(__file__).parents[2] / "images"
IMAGE = "levelseq/levelseq-cpu:tests"
DEBIAN = "localhost/levelseq-base:bookworm"

sys.path.insert(0, str(IMAGES))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, str]]:
    """An engine that starts containers, and a base image: BASE, or Debian's packages."""
    engine = installed_engine()
    if engine is None:
        pytest.skip("neither podman nor docker works here")
    image = os.environ.get("BASE") or _debian(engine)
    able, why = able_to_run(engine, image, tmp_path_factory.mktemp("engine"))
    if able is None:
        pytest.skip(why)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in able.environment.items():
            patch.setenv(name, value)
        yield able, image


def _debian(engine: Engine) -> str:
    """The base that `images/base.sh` makes; without its tool the Dockerfile's own."""
    if engine("image", "inspect", DEBIAN).returncode == 0:
        return DEBIAN
    if not shutil.which("mmdebstrap"):
        return "python:3.11-slim-bookworm"
    made = subprocess.Popen([IMAGES / "base.sh"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    subprocess.run(
        [engine.program, "import", "-", DEBIAN], stdin=made.stdout, stdout=subprocess.DEVNULL
    )
    if made.wait():
        pytest.skip("mmdebstrap could not make a Debian base; give one as BASE")
    return DEBIAN


@pytest.fixture(scope="session")
def engine(base: tuple[Engine, str]) -> Engine:
    """An engine that starts containers here."""
    return base[0]


@pytest.fixture(scope="session")
def image(base: tuple[Engine, str]) -> str:
    """IMAGE, or the CPU image as `make images` builds it, under the engine's name for it."""
    engine, image = base
    if os.environ.get("IMAGE"):
        return os.environ["IMAGE"]
    flags = shlex.split(os.environ.get("BUILD_FLAGS", ""))
    pip_flags = f"--pip-flags={os.environ.get('PIP_FLAGS', '')}"
    build(IMAGES / "wheelhouse.py", "cpu", pip_flags)
    build(IMAGES / "build.py", "cpu", "--base", image, "--tag", IMAGE, *flags)
    # Podman prefixes the names of images that are in no registry.
    return IMAGE if engine.program == "docker" else f"localhost/{IMAGE}"


def build(script: Path, *words: str) -> str:
    """Run a script of images/; what it printed."""
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout
