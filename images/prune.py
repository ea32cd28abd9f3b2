"""Leaves of the base image what a component needs. Runs inside the build, by the base's Python.

Kubeflow starts a component by `sh -ec 'x=$(mktemp -d); printf … > …; python3 -m …'`: these stay,
package managers, shells for people and setuid programs go.
"""

from __future__ import annotations

import shutil
from pathlib import Path

KEPT = {"sh", "dash", "mktemp", "env", "ldconfig"}
PROGRAMS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
# Of the packages' records the list of packages stays: scanners read it.
UNUSED = (
    "/root/.cache",
    "/usr/lib/apt",
    "/usr/lib/dpkg",
    "/usr/lib/*/perl*",
    "/usr/lib/*/libapt-*",
    "/usr/lib/python3*/ensurepip",
    "/usr/local/lib/python3*/ensurepip",
    "/usr/local/lib/python3*/site-packages/*",
    "/usr/local/include",
    "/usr/share/info",
    "/usr/share/locale",
    "/usr/share/man",
    "/usr/share/perl*",
    "/usr/share/python-wheels",
    "/var/cache/*",
    "/var/lib/apt",
    "/var/lib/dpkg/info",
    "/var/log/*",
    "/etc/apt",
)
USER = "levelseq:x:1000:1000:levelseq:/tmp:/usr/sbin/nologin\n"
GROUP = "levelseq:x:1000:\n"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main() -> None:
    """Check the base, then take away and add the user."""
    if not CERTIFICATES.exists():
        raise SystemExit(f"BASE has no {CERTIFICATES}: install ca-certificates in it")
    for pattern in UNUSED:
        for path in Path("/").glob(pattern.lstrip("/")):
            remove(path)
    for folder in {Path(name).resolve() for name in PROGRAMS if Path(name).is_dir()}:
        for program in folder.iterdir():
            if program.name not in KEPT and not program.name.startswith("python"):
                remove(program)
    for name, line in (("passwd", USER), ("group", GROUP)):
        with Path("/etc", name).open("a", encoding="utf-8") as table:
            table.write(line)
    Path(__file__).unlink()


def remove(path: Path) -> None:
    """Take away a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


if __name__ == "__main__":
    main()
