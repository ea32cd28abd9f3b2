"""The image's list of parts, in CycloneDX 1.6: Python's packages and the base's Debian packages.

python sbom.py NAME FILE        inside the build, by a Python that has cyclonedx-bom
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ENVIRONMENT = "/opt/levelseq/bin/python"
DPKG_STATUS = Path("/var/lib/dpkg/status")


def main() -> None:
    """Write the list, checked against CycloneDX's schema."""
    name, target = sys.argv[1], Path(sys.argv[2])
    document = python_parts()
    version = next(part["version"] for part in document["components"] if part["name"] == "levelseq")
    document["metadata"]["component"] = {
        "type": "container",
        "bom-ref": name,
        "name": name,
        "version": version,
    }
    if DPKG_STATUS.exists():
        document["components"] += debian_parts(DPKG_STATUS.read_text(encoding="utf-8"))
    text = json.dumps(document, indent=1)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        raise SystemExit(f"sbom: not CycloneDX 1.6: {wrong}")
    target.parent.mkdir(parents=True)
    target.write_text(text, encoding="utf-8")


def python_parts() -> dict[str, Any]:
    """What cyclonedx-bom finds in the environment, with its graph of dependencies."""
    found = subprocess.run(
        [
            Path(sys.executable).with_name("cyclonedx-py"),
            *("environment", ENVIRONMENT, "--output-reproducible", "--spec-version", "1.6"),
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def debian_parts(status: str) -> list[dict[str, Any]]:
    """The packages of the base as its package manager recorded them."""
    parts = []
    for record in status.split("\n\n"):
        lines = [line for line in record.splitlines() if not line.startswith(" ")]
        fields = dict(line.partition(": ")[::2] for line in lines)
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            arch = {"arch": fields["Architecture"]}
            purl = PackageURL("deb", "debian", name, version, arch).to_string()
            parts.append(
                {
                    "type": "library",
                    "bom-ref": purl,
                    "name": name,
                    "version": version,
                    "purl": purl,
                }
            )
    return parts


if __name__ == "__main__":
    main()
