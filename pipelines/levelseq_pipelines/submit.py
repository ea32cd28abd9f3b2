"""Starting a pipeline in a cluster through its API server."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from levelseq.errors import BadOption, StoreUnavailable
from levelseq.store import split_scheme
from levelseq_pipelines.compile import compiled_yaml

__all__ = ["submit"]


def submit(
    pipeline: str,
    arguments: dict[str, Any],
    *,
    host: str,
    namespace: str | None = None,
    experiment: str = "levelseq",
    service_account: str | None = None,
) -> str:
    """Start one run of a pipeline, and give the run's address at the API server.

    Raises:
        BadOption: an address is a path of this machine, which no pod can read, or the server
            refuses the run.
        StoreUnavailable: the API server does not answer.
    """
    import kfp
    import kfp_server_api
    import urllib3.exceptions

    for address in (arguments["workspace"], *arguments["deposits"]):
        if split_scheme(address)[0] == "file":
            raise BadOption("is a path of this machine", where=address, do="use an object store")
    try:
        with warnings.catch_warnings():
            # kfp warns at every start that it is for servers of version 2.
            warnings.simplefilter("ignore", FutureWarning)
            client = kfp.Client(
                host=host, namespace=namespace or "kubeflow", credentials=_mounted_credentials()
            )
        with tempfile.TemporaryDirectory(prefix="levelseq-") as scratch:
            package = Path(scratch) / f"{pipeline}.yaml"
            package.write_text(compiled_yaml(pipeline), encoding="utf-8")
            run = client.create_run_from_pipeline_package(
                str(package),
                arguments=arguments,
                experiment_name=experiment,
                namespace=namespace,
                service_account=service_account,
            )
    except kfp_server_api.ApiException as error:
        raise BadOption(
            f"the API server refuses the run: {error.status} {error.reason}", where=host
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise StoreUnavailable(
            "the API server does not answer", where=host, do="try again"
        ) from error
    return f"{host.rstrip('/')}/#/runs/details/{run.run_id}"


def _mounted_credentials() -> Any:
    """The token that a pod's volume holds for the API server, or None outside of one."""
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

    path = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", "")
    return ServiceAccountTokenVolumeCredentials(path) if os.path.exists(path) else None
