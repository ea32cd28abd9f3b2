"""Kubeflow Pipelines: one run of a compiled pipeline, through the API server."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from levelseq_pipelines.services.api_server import connected, said
from levelseq_pipelines.services.call import Call
from levelseq_pipelines.services.job import refuse_local

__all__ = ["Place", "calls", "start"]


@dataclass(frozen=True)
class Place:
    """The API server, and whose run it is there."""

    host: str = field(metadata={"help": "the Kubeflow Pipelines API server"})
    namespace: str = field(
        default="", metadata={"help": "the profile's namespace, if there are any"}
    )
    experiment: str = field(default="levelseq", metadata={"help": "where the run is listed"})
    service_account: str = field(default="", metadata={"help": "the account that the pods run as"})
    cloud: str = field(
        default="local", metadata={"help": "local, gke, eks or aks: whose nodes the pods ask for"}
    )
    queue: str = field(default="", metadata={"help": "Kueue's LocalQueue that tasks wait in"})


def calls(pipeline: str, arguments: dict[str, Any], place: Place) -> list[Call]:
    """`runs.create` of the API server, without the experiment's id, which only it knows.

    Raises:
        BadOption: an address is a path of this machine, which no pod can read, or there is no such
            cloud.
    """
    # No other service needs kfp's compiler.
    from levelseq_pipelines.clouds import cloud_named
    from levelseq_pipelines.compile import compiled_yaml
    from levelseq_pipelines.scheduling import Placement

    refuse_local([arguments["workspace"], *arguments["deposits"]])
    cloud_named(place.cloud)
    chosen = Placement(cloud=place.cloud, queue=place.queue)
    spec, *platform = yaml.safe_load_all(compiled_yaml(pipeline, chosen))
    run = {
        "display_name": f"{pipeline} {arguments['name']}",
        "pipeline_spec": {"pipeline_spec": spec, "platform_spec": platform[0]}
        if platform
        else spec,
        "runtime_config": {"parameters": arguments},
    }
    if place.service_account:
        run["service_account"] = place.service_account
    return [Call("runs.create", run)]


def start(requests: list[Call], place: Place) -> str:
    """Start the run; its address at the API server.

    Raises:
        BadOption: the server refuses the run.
        StoreUnavailable: the API server does not answer.
    """
    run = requests[0].request
    with said(place.host):
        client = connected(
            place.host,
            namespace=place.namespace or "kubeflow",
            credentials=_mounted_credentials(),
        )
        with tempfile.TemporaryDirectory(prefix="levelseq-") as scratch:
            package = Path(scratch) / "pipeline.yaml"
            package.write_text(_documents(run["pipeline_spec"]), encoding="utf-8")
            made = client.create_run_from_pipeline_package(
                str(package),
                arguments=run["runtime_config"]["parameters"],
                run_name=run["display_name"],
                experiment_name=place.experiment,
                namespace=place.namespace or None,
                service_account=place.service_account or None,
            )
    return f"{place.host.rstrip('/')}/#/runs/details/{made.run_id}"


def _documents(spec: dict[str, Any]) -> str:
    parts = [spec["pipeline_spec"], spec["platform_spec"]] if "platform_spec" in spec else [spec]
    return yaml.safe_dump_all(parts, sort_keys=True)


def _mounted_credentials() -> Any:
    """The token that a pod's volume holds for the API server, or None outside of one."""
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

    path = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", "")
    return ServiceAccountTokenVolumeCredentials(path) if os.path.exists(path) else None
