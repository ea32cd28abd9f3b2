"""Upload compiled pipelines to an API server as new versions: what CI does on a release.

python -m levelseq_pipelines.upload FOLDER --version v1.2 [--host URL]

KFP_HOST names the API server, KFP_TOKEN holds a token for it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from levelseq.errors import BadAddress, BadOption, LevelseqError
from levelseq_pipelines.services.api_server import connected, said

__all__ = ["main", "upload"]


def upload(folder: Path, version: str, client: Any) -> list[str]:
    """Upload each file of a folder as a version of the pipeline that it names.

    Args:
        folder: with compiled pipelines.
        version: name of the version, unique for a pipeline; one that is there is left as it is.
        client: a `kfp.Client`.

    Returns:
        Names of the pipelines that got the version.

    Raises:
        BadAddress: the folder holds no compiled pipeline.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise BadAddress("holds no compiled pipelines", where=str(folder), do="compile first")
    uploaded = []
    for file in files:
        spec = next(iter(yaml.safe_load_all(file.read_text(encoding="utf-8"))))
        name = str(spec["pipelineInfo"]["name"])
        pipeline = client.get_pipeline_id(name)
        if pipeline is None:
            pipeline = _made(client, name)
        if version in _versions(client, pipeline):
            continue
        client.upload_pipeline_version(
            str(file), pipeline_version_name=version, pipeline_id=pipeline
        )
        uploaded.append(name)
    return uploaded


def _made(client: Any, name: str) -> str:
    """The id of a new pipeline without a version: `upload_pipeline` would make one of its own."""
    asked = client.api_models.V2beta1Pipeline(name=name, display_name=name)
    return str(client.pipelines.pipeline_service_create_pipeline(asked).pipeline_id)


def _versions(client: Any, pipeline: str) -> set[str]:
    """Names of a pipeline's latest versions."""
    answer = client.list_pipeline_versions(pipeline, page_size=100, sort_by="created_at desc")
    return {str(each.display_name) for each in answer.pipeline_versions or []}


def main(argv: list[str]) -> int:
    """Upload a folder; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m levelseq_pipelines.upload")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--host", default=os.environ.get("KFP_HOST", ""))
    args = parser.parse_args(argv)
    try:
        if not args.host:
            raise BadOption("names no API server", where="--host", do="set it or KFP_HOST")
        with said(args.host):
            client = connected(args.host, existing_token=os.environ.get("KFP_TOKEN"))
            for name in upload(args.folder, args.version, client):
                print(f"{name} {args.version}")
    except LevelseqError as error:
        print(f"levelseq: {error}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
