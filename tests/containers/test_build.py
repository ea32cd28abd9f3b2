"""What a build refuses, said before anything is built."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import IMAGES

DIGEST = "docker.io/library/python@sha256:" + "0" * 64


def test_a_release_refuses_a_base_without_a_digest():
    import build

    with pytest.raises(SystemExit, match="by digest"):
        build.check_base("python:3.11-slim-bookworm", release=True)
    with pytest.raises(SystemExit, match="by digest"):
        build.check_base(f"{DIGEST[:-1]}", release=True)
    build.check_base("python:3.11-slim-bookworm", release=False)


def test_a_release_refuses_a_tree_with_changes(monkeypatch):
    import build

    monkeypatch.setattr(build, "git", lambda *words: "")
    build.check_base(DIGEST, release=True)
    monkeypatch.setattr(build, "git", lambda *words: " M images/Dockerfile")
    with pytest.raises(SystemExit, match="committed"):
        build.check_base(DIGEST, release=True)


def test_the_digest_of_the_base_becomes_a_label():
    import build

    flags = build.build_flags("cpu", DIGEST, "levelseq/levelseq-cpu:0.1.0")
    assert f"--build-arg=BASE_DIGEST={DIGEST.partition('@')[2]}" in flags
    assert "--build-arg=BASE_NAME=docker.io/library/python" in flags
    assert "--network=none" in flags


def test_wheels_of_the_other_flavour_are_refused():
    from wheelhouse import check_flavour

    cuda = ["torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl", "nvidia_nccl-2-py3-none-any.whl"]
    cpu = ["torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"]
    with pytest.raises(SystemExit, match=r"nvidia_nccl.*--extra-index-url .*/whl/cpu"):
        check_flavour("cpu", cuda)
    with pytest.raises(SystemExit, match="without CUDA"):
        check_flavour("cuda", cpu)
    check_flavour("cpu", cpu)
    check_flavour("cuda", cuda)


def test_wheels_are_pinned_by_what_is_in_them(tmp_path):
    from wheelhouse import pinned

    wheel = tmp_path / "a_b-1.0+cpu-py3-none-any.whl"
    wheel.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert pinned(wheel) == f"a_b==1.0+cpu --hash=sha256:{empty}\n"


def test_an_unknown_extra_is_refused():
    from wheelhouse import requirements

    assert set(requirements([])) < set(requirements(["validate"]))
    with pytest.raises(SystemExit, match="no extra 'nothing'"):
        requirements(["nothing"])


def test_a_base_is_asked_for():
    command = [sys.executable, IMAGES / "build.py", "cpu", "--tag=x", "--engine=podman"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "images: name an image with Python as --base\n")


def test_the_base_has_the_python_that_fetches_the_wheels(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 3.13\n")
    python.chmod(0o755)
    command = ["make", "--dry-run", "image-cpu", f"BIN={tmp_path}"]
    done = subprocess.run(command, cwd=IMAGES.parent, capture_output=True, text=True, check=True)
    assert "--base python:3.13-slim-bookworm " in done.stdout
