"""The wheels that an image is built from, fetched beside it: a build itself reaches no registry.

    python images/wheelhouse.py cpu --pip-flags='--extra-index-url=…'

`wheelhouse/<flavour>/` holds the dependencies with a hash for each, `wheelhouse/tools/` what the
build needs and the image does not keep, `wheelhouse/code/` the project's own wheel. The Python
that runs this must have the minor version of the base image's.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "wheelhouse"
FLAVOURS = ("cpu", "cuda")


def main() -> None:
    """Fetch what has changed since the last time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flavour", choices=FLAVOURS)
    parser.add_argument("--extras", default="validate", help="of the package, with commas")
    parser.add_argument("--pip-flags", default="", help="such as the index of a build of torch")
    args = parser.parse_args()
    flags = shlex.split(args.pip_flags)
    fill(HOUSE / "tools", ["-r", str(ROOT / "images" / "tools.txt")], flags)
    fill(HOUSE / args.flavour, requirements(args.extras.split(",")), flags)
    check_flavour(args.flavour, [wheel.name for wheel in (HOUSE / args.flavour).glob("*.whl")])
    build_code()


def requirements(extras: list[str]) -> list[str]:
    """What the package and its extras ask for, as `pyproject.toml` says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional, asked = project["optional-dependencies"], list(filter(None, extras))
    unknown = sorted(set(asked) - optional.keys())
    if unknown:
        raise SystemExit(f"wheelhouse: no extra {unknown[0]!r}; there are {', '.join(optional)}")
    return project["dependencies"] + [one for extra in asked for one in optional[extra]]


def fill(folder: Path, asked: list[str], flags: list[str]) -> None:
    """Put the wheels for what is asked into a folder, with `requirements.txt` that pins each.

    Nothing is done when the folder was filled for the same words and constraints.
    """
    constraints = ROOT / "constraints.txt"
    files = [constraints, *(Path(word) for word in asked if Path(word).is_file())]
    content = [[*asked, *flags, sys.version], [path.read_text(encoding="utf-8") for path in files]]
    stamp = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    noted = folder.with_suffix(".stamp")
    if folder.is_dir() and noted.exists() and noted.read_text() == stamp:
        return
    shutil.rmtree(folder, ignore_errors=True)
    pip("-c", str(constraints), "-w", str(folder), *flags, *asked)
    lines = [pinned(wheel) for wheel in sorted(folder.glob("*.whl"))]
    (folder / "requirements.txt").write_text("".join(lines), encoding="utf-8")
    noted.write_text(stamp)


def pinned(wheel: Path) -> str:
    """The line of `requirements.txt` that takes this wheel and no other."""
    name, version = wheel.name.split("-")[:2]
    with wheel.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return f"{name}=={version} --hash=sha256:{digest}\n"


def check_flavour(flavour: str, wheels: list[str]) -> None:
    """Refuse CUDA's libraries in the CPU image, and their absence in the CUDA image.

    Raises:
        SystemExit: the wheels are another flavour's; the message says what to do.
    """
    found = [name for name in wheels if name.startswith(("nvidia_", "triton-"))]
    if flavour == "cpu" and found:
        raise SystemExit(
            f"wheelhouse: {found[0]} is no part of a CPU image: take torch's CPU build with"
            " PIP_FLAGS='--extra-index-url https://download.pytorch.org/whl/cpu'"
        )
    if flavour == "cuda" and not found:
        raise SystemExit(
            "wheelhouse: torch came without CUDA's libraries: take its CUDA build, PyPI's on"
            " Linux, x86-64, or that of an index named with PIP_FLAGS='--extra-index-url …'"
        )


def build_code() -> None:
    """The project's own wheel, alone in its folder."""
    shutil.rmtree(HOUSE / "code", ignore_errors=True)
    pip("--no-deps", "-w", str(HOUSE / "code"), str(ROOT))


def pip(*words: str) -> None:
    """`pip wheel` of this Python.

    Raises:
        SystemExit: pip failed; it has said why.
    """
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*command, *words], cwd=ROOT).returncode:
        raise SystemExit("wheelhouse: pip could not make the wheels; see above")


if __name__ == "__main__":
    main()
