"""The pipelines as the YAML that a cluster takes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from kfp import compiler

from levelseq.errors import BadAddress
from levelseq_pipelines.pipelines import PIPELINES

__all__ = ["compile_all", "compiled_yaml", "without_comments"]


def compiled_yaml(pipeline: str) -> str:
    """One pipeline's YAML, by the name of its function."""
    with tempfile.TemporaryDirectory(prefix="levelseq-") as scratch:
        target = Path(scratch) / f"{pipeline}.yaml"
        compiler.Compiler().compile(PIPELINES[pipeline], str(target))
        return target.read_text(encoding="utf-8")


def compile_all(folder: Path) -> list[Path]:
    """Write every pipeline's YAML into a folder; the files written.

    Raises:
        BadAddress: the folder is a file, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadAddress(
            f"is no folder to write into: {error.strerror}",
            where=str(folder),
            do="choose another --out",
        ) from error
    files = []
    for pipeline in PIPELINES:
        files.append(folder / f"{pipeline}.yaml")
        files[-1].write_text(compiled_yaml(pipeline), encoding="utf-8")
    return files


def without_comments(text: str) -> str:
    """YAML without lines starting `#`: the header is not promised to be stable."""
    return "".join(line for line in text.splitlines(True) if not line.startswith("#"))
