"""Build one image from its wheelhouse with podman, docker or buildah, and tell its size.

    python images/build.py cpu --base IMAGE --tag levelseq/levelseq-cpu:0.1.0 [flags of `build`]
    python images/build.py cpu --tag levelseq/levelseq-cpu:0.1.0 --size

The build has no network. With --release the base must be pinned by digest and the tree committed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGINES = ("podman", "docker", "buildah")


def main() -> None:
    """Build, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flavour", choices=("cpu", "cuda"))
    parser.add_argument("--base", default="", help="image with Python; by digest in releases")
    parser.add_argument("--tag", required=True)
    parser.add_argument("--release", action="store_true")
    parser.add_argument("--size", action="store_true", help="tell the size of what was built")
    parser.add_argument("--engine", default="", help="podman, docker or buildah")
    args, flags = parser.parse_known_args()
    engine = args.engine or working_engine()
    if not args.size:
        check_base(args.base, args.release)
        build([engine, "build", *build_flags(args.flavour, args.base, args.tag), *flags, str(ROOT)])
    show_size(engine, args.tag)


def build(command: list[str]) -> None:
    """Run the engine and tell how long it took.

    Raises:
        SystemExit: it failed; it has said why.
    """
    started = time.monotonic()
    # An attestation of buildx gives every build another digest; the list of parts is in the image.
    environment = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    if subprocess.run(command, env=environment).returncode:
        raise SystemExit(f"images: {command[0]} could not build the image; see above")
    print(f"built in {time.monotonic() - started:.0f} s by {command[0]}")


def check_base(base: str, release: bool) -> None:
    """A build has a base; what a release stands on can be found again: base and tree.

    Raises:
        SystemExit: it is not so.
    """
    if not base:
        raise SystemExit("images: name an image with Python as --base")
    if release and not re.search(r"@sha256:[0-9a-f]{64}$", base):
        raise SystemExit(f"images: a release needs its base by digest, name@sha256:…, not {base!r}")
    if release and git("status", "--porcelain"):
        raise SystemExit("images: a release is built from a committed tree; see git status")


def working_engine() -> str:
    """The first engine that is installed and answers.

    Raises:
        SystemExit: there is none.
    """
    for engine in ENGINES:
        # The docker client alone also answers, with an error.
        asked = [engine, "info"]
        if shutil.which(engine) and not subprocess.run(asked, capture_output=True).returncode:
            return engine
    raise SystemExit("images: neither podman nor docker nor buildah works here")


def build_flags(flavour: str, base: str, tag: str) -> list[str]:
    """The flags that the three engines share, with what the image's labels tell."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    committed = int(git("log", "-1", "--format=%ct") or 0)
    created = datetime.datetime.fromtimestamp(committed, datetime.UTC)
    arguments = {
        "BASE": base,
        "FLAVOUR": flavour,
        "DESCRIPTION": project["description"],
        "VERSION": project["version"],
        "LICENSES": project["license"],
        "REVISION": git("rev-parse", "HEAD"),
        "CREATED": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "BASE_NAME": base.partition("@")[0],
        "BASE_DIGEST": base.partition("@")[2],
    }
    flags = ["--network=none", f"--file={ROOT / 'images' / 'Dockerfile'}", f"--tag={tag}"]
    flags.append(f"--target={flavour}")
    return flags + [f"--build-arg={name}={value}" for name, value in arguments.items()]


def show_size(engine: str, tag: str) -> None:
    """Print the image's size and, where the engine tells, that of each layer.

    Raises:
        SystemExit: there is no such image.
    """
    command = [engine, "images", "--format={{.Size}}", tag]
    size = subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[0]
    if not size:
        raise SystemExit(f"images: {engine} has no image {tag}; build it, without --size")
    print(f"{tag}: {size} on disk")
    if engine == "buildah":
        return
    command = [engine, "history", "--no-trunc", "--format={{.Size}}\t{{.CreatedBy}}", tag]
    for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines():
        size, _, made_by = line.partition("\t")
        if re.match(r"[1-9]", size):
            print(f"  {size:>8}  {made_by[-60:]}")


def git(*words: str) -> str:
    """What git says of this tree; nothing outside a checkout."""
    found = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
