"""What the built image holds, and what it is able to do under a cluster's strictest policy."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import IMAGES, build
from engine import RESTRICTED, Engine

from levelseq import __version__

pytestmark = pytest.mark.containers
SBOM = "/usr/share/sbom/levelseq.cdx.json"


def python(engine: Engine, image: str, code: str, *flags: str) -> str:
    done = engine("run", *RESTRICTED, *flags, image, "python3", "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def inspected(engine: Engine, image: str) -> dict[str, object]:
    (found,) = json.loads(engine("image", "inspect", image).stdout)
    return found["Config"]


def test_the_command_tells_its_version(engine, image):
    done = engine("run", *RESTRICTED, image, "levelseq", "--version")
    assert (done.returncode, done.stdout) == (0, f"levelseq {__version__}\n"), done.stderr


def test_a_container_is_not_root_and_cannot_write_outside_tmp(engine, image):
    code = "import os; print(os.getuid(), os.getgid(), os.access('/opt/levelseq', os.W_OK))"
    assert python(engine, image, code) == "1000 1000 False"
    refused = engine("run", *RESTRICTED, image, "sh", "-c", ": > /opt/levelseq/x")
    assert refused.returncode != 0
    assert "Read-only" in refused.stderr


def test_any_user_id_of_group_0_can_use_it(engine, image):
    """OpenShift gives each namespace a user id of its own."""
    code = "import getpass, torch._inductor, matplotlib.pyplot; print(getpass.getuser())"
    assert python(engine, image, code, "--user=1234567:0") == "levelseq"


def test_compiled_kernels_and_pictures_find_a_place_for_their_caches(engine, image):
    code = """
import os, numpy, levelseq, pandas, matplotlib
counts = pandas.DataFrame(numpy.random.default_rng(0).poisson(9.0, (40, 60)))
levelled = levelseq.normalize_counts(counts, method="tmm")
print(levelled.shape, matplotlib.get_cachedir(), os.path.expanduser("~"))
"""
    assert python(engine, image, code) == "(40, 60) /tmp/cache/matplotlib /tmp"


def test_no_program_is_left_but_what_a_component_is_started_with(engine, image):
    code = """
import os, stat
places = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
folders = {os.path.realpath(place) for place in places if os.path.isdir(place)}
programs = {name for folder in folders for name in os.listdir(folder)}
print(*sorted(name for name in programs if not name.startswith("python")))
for top in set(os.listdir("/")) - {"proc", "sys", "dev"}:
    for folder, _, files in os.walk("/" + top):
        for path in (os.path.join(folder, name) for name in files):
            if os.lstat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
                print("setuid", path)
"""
    assert python(engine, image, code) == "dash env ldconfig mktemp sh"
    assert python(engine, image, "import importlib.util as u; print(u.find_spec('pip'))") == "None"


def test_the_labels_tell_what_it_was_made_of(engine, image, base):
    labels = inspected(engine, image)["Labels"]
    told = {name.rpartition("image.")[2]: value for name, value in labels.items()}
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=IMAGES, capture_output=True, text=True
    ).stdout.strip()
    assert told["title"] == "levelseq-cpu"
    assert told["version"] == __version__
    assert told["licenses"] == "Apache-2.0"
    assert told["revision"] == revision
    assert told["base.name"] == base[1].partition("@")[0]


def test_the_list_of_parts_names_what_is_installed(engine, image):
    parts = json.loads(python(engine, image, f"print(open({SBOM!r}).read())"))
    assert (parts["bomFormat"], parts["specVersion"]) == ("CycloneDX", "1.6")
    assert parts["metadata"]["component"]["name"] == "levelseq-cpu"
    listed = {normal(part["name"]) for part in parts["components"]}
    code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    installed = {normal(name) for name in python(engine, image, code).split()}
    assert len(installed) > 80
    assert installed - listed == set()
    assert any(part.get("purl", "").startswith("pkg:deb/debian/") for part in parts["components"])


def normal(name: str) -> str:
    """The name of a package as indexes compare it."""
    return re.sub("[-_.]+", "-", name).lower()


def test_a_change_of_code_leaves_all_layers_but_the_last(engine, image, base, tmp_path):
    """What a node pulls after a change of code is the package, not torch.

    The wheels are not even there: the layer of dependencies stands by their hashes.
    """
    tree = copied_tree(tmp_path)
    (tree / "wheelhouse" / "cpu").mkdir()
    shutil.copy(IMAGES.parent / "wheelhouse" / "cpu" / "requirements.txt", tree / "wheelhouse/cpu")
    (wheel,) = (tree / "wheelhouse" / "code").glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("levelseq/changed.txt", "changed")
    changed = "levelseq/changed:tests"
    build(tree / "images" / "build.py", "cpu", "--base", base[1], "--tag", changed)
    code = "import importlib.resources as r; print(r.read_text('levelseq', 'changed.txt'))"
    assert python(engine, changed, code) == "changed"
    before, after = layers(engine, image), layers(engine, changed)
    assert engine("rmi", changed).returncode == 0
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]


def layers(engine: Engine, image: str) -> list[str]:
    (found,) = json.loads(engine("image", "inspect", image).stdout)
    return found["RootFS"]["Layers"]


def copied_tree(tmp_path: Path) -> Path:
    """The files that a build reads, without the dependencies' wheels."""
    tree = tmp_path / "tree"
    shutil.copytree(IMAGES, tree / "images")
    for name in ("pyproject.toml", ".dockerignore"):
        shutil.copy(IMAGES.parent / name, tree)
    for name in ("tools", "code"):
        shutil.copytree(IMAGES.parent / "wheelhouse" / name, tree / "wheelhouse" / name)
    return tree


def test_the_cuda_image_asks_for_the_driver(engine, image, base, tmp_path):
    """With a stand-in for CUDA's gigabytes: the same file, the other target."""
    tree = copied_tree(tmp_path)
    house = tree / "wheelhouse" / "cuda"
    house.mkdir()
    (house / "requirements.txt").write_text(stand_in(house, "nvidia_cuda_runtime", "13.0"))
    words = ("cuda", "--base", base[1], "--tag", "levelseq/levelseq-cuda:tests")
    printed = build(tree / "images" / "build.py", *words)
    assert "built in" in printed
    config = inspected(engine, "levelseq/levelseq-cuda:tests")
    parts = json.loads(
        python(engine, "levelseq/levelseq-cuda:tests", f"print(open({SBOM!r}).read())")
    )
    assert engine("rmi", "levelseq/levelseq-cuda:tests").returncode == 0
    assert "NVIDIA_VISIBLE_DEVICES=all" in config["Env"]
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in config["Env"]
    assert config["Labels"]["org.opencontainers.image.title"] == "levelseq-cuda"
    assert config["User"] == "1000:1000"
    assert "nvidia-cuda-runtime" in {part["name"] for part in parts["components"]}


def stand_in(folder: Path, name: str, version: str) -> str:
    """Make a wheel that holds nothing; its line of requirements.txt."""
    from wheelhouse import pinned

    facts = f"{name}-{version}.dist-info"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            f"{facts}/METADATA",
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n",
        )
        archive.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{facts}/RECORD", "")
    return pinned(wheel)


def test_the_size_is_told(image):
    command = [sys.executable, IMAGES / "build.py", "cpu", "--size", "--tag", image]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    first, *of_layers = told.stdout.splitlines()
    assert first.startswith(f"{image}: ")
    assert first.endswith(" on disk")
    assert len(of_layers) >= 3
