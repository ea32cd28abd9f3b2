"""Kubeflow Pipelines: one run of a compiled pipeline, through the API server."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from levelseq.errors import BadOption, StoreUnavailable
from levelseq_pipelines.services.call import Call
from levelseq_pipelines.services.job import refuse_local

__all__ = ["Place", "calls", "said", "start"]


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
    import kfp

    run = requests[0].request
    with said(place.host):
        with warnings.catch_warnings():
            # kfp warns at every start that it is for servers of version 2.
            warnings.simplefilter("ignore", FutureWarning)
            client = kfp.Client(
                host=place.host,
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


@contextlib.contextmanager
def said(host: str) -> Iterator[None]:
    """What kfp's client raises, as levelseq's errors.

    Raises:
        BadOption: the server refuses the request.
        StoreUnavailable: it does not answer, is busy or fails.
    """
    import kfp_server_api
    import urllib3.exceptions

    try:
        yield
    except kfp_server_api.ApiException as error:
        # kfp's status 0 is a connection that broke.
        status = error.status or 0
        if status in (0, 429) or status >= 500:
            raise StoreUnavailable(
                f"the API server does not answer: {status} {error.reason}",
                where=host,
                do="try again",
            ) from error
        raise BadOption(
            f"the API server refuses the request: {status} {error.reason}", where=host
        ) from error
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        raise StoreUnavailable(
            "the API server does not answer", where=host, do="try again"
        ) from error


def _documents(spec: dict[str, Any]) -> str:
    parts = [spec["pipeline_spec"], spec["platform_spec"]] if "platform_spec" in spec else [spec]
    return yaml.safe_dump_all(parts, sort_keys=True)


def _mounted_credentials() -> Any:
    """The token that a pod's volume holds for the API server, or None outside of one."""
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

    path = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", "")
    return ServiceAccountTokenVolumeCredentials(path) if os.path.exists(path) else None
