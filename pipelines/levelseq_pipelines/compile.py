"""The pipelines as the YAML that a cluster takes, and as objects that GitOps applies."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from kfp import compiler

from levelseq import __version__
from levelseq.errors import BadAddress
from levelseq_pipelines.pipelines import PIPELINES, placed_pipeline
from levelseq_pipelines.scheduling import LOCAL, Placement

__all__ = ["MANIFESTS", "compile_all", "compiled_yaml", "manifest_yaml", "without_comments"]

MANIFESTS = "kubernetes"
NAMESPACE = "levelseq"


@cache
def compiled_yaml(pipeline: str, chosen: Placement = LOCAL) -> str:
    """One pipeline's YAML, by the name of its function."""
    return _compiled(pipeline, chosen)


@cache
def manifest_yaml(pipeline: str, chosen: Placement = LOCAL, namespace: str = NAMESPACE) -> str:
    """A `Pipeline` and its `PipelineVersion` of pipelines.kubeflow.org/v2beta1.

    For API servers that keep pipelines in Kubernetes; the version's name holds the release and the
    placement, since a version cannot be changed.
    """
    name = PIPELINES[pipeline].name
    release = f"{__version__}-{chosen.cloud}"
    options = compiler.KubernetesManifestOptions(
        pipeline_name=name,
        pipeline_version_name=f"{name}-{release}",
        pipeline_version_display_name=release,
        namespace=namespace,
        include_pipeline_manifest=True,
    )
    return _compiled(
        pipeline,
        chosen,
        kubernetes_manifest_format=True,
        kubernetes_manifest_options=options,
    )


def _compiled(pipeline: str, chosen: Placement, **how: object) -> str:
    with tempfile.TemporaryDirectory(prefix="levelseq-") as scratch:
        target = Path(scratch) / f"{pipeline}.yaml"
        compiler.Compiler().compile(placed_pipeline(pipeline, chosen), str(target), **how)
        return target.read_text(encoding="utf-8")


def compile_all(folder: Path, chosen: Placement = LOCAL) -> list[Path]:
    """Write every pipeline's YAML into a folder, and its manifests below it; the files written.

    Raises:
        BadAddress: the folder is a file, or cannot be made.
    """
    below = folder / MANIFESTS
    try:
        below.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadAddress(
            f"is no folder to write into: {error.strerror}",
            where=str(folder),
            do="choose another --out",
        ) from error
    files = {}
    for pipeline in PIPELINES:
        files[folder / f"{pipeline}.yaml"] = compiled_yaml(pipeline, chosen)
        files[below / f"{pipeline}.yaml"] = manifest_yaml(pipeline, chosen)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return list(files)


def without_comments(text: str) -> str:
    """YAML without lines starting `#`: the header is not promised to be stable."""
    return "".join(line for line in text.splitlines(True) if not line.startswith("#"))
