"""AWS HealthOmics: a private workflow, the WDL beside this file, and one run of it."""

from __future__ import annotations

import io
import re
import shlex
import zipfile
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from levelseq.cohort import content_key
from levelseq.errors import BadOption
from levelseq.store import join, split_scheme
from levelseq.store.aws_errors import said
from levelseq_pipelines.services.aws import check_place, client_of
from levelseq_pipelines.services.call import Call
from levelseq_pipelines.services.job import Job
from levelseq_pipelines.services.retrying import retrying

__all__ = ["NEW_WORKFLOW", "Place", "calls", "definition", "start"]

NEW_WORKFLOW = "<id in the answer of create_workflow>"
_REGISTRY = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/.+")
_ACCELERATORS = (
    "nvidia-tesla-t4",
    "nvidia-tesla-t4-a10g",
    "nvidia-tesla-a10g",
    "nvidia-t4-a10g-l4",
    "nvidia-l4-a10g",
    "nvidia-l4",
    "nvidia-l40s",
)
_INPUTS = {
    "image": "the container's image in ECR, with its digest",
    "command_line": "the shell line that runs levelseq",
    "settings": "shell lines that set the environment",
    "cpu": "cores",
    "memory_gib": "memory",
    "gpu": "devices",
    "gpu_type": "the kind of device",
}


@dataclass(frozen=True)
class Place:
    """Where the run's records go and as whom it runs."""

    role: str = field(metadata={"help": "the IAM role that the job runs as, an ARN"})
    region: str = field(metadata={"help": "the region"})
    output: str = field(
        default="", metadata={"help": "where logs go (default: WORKSPACE/healthomics)"}
    )
    run_group: str = field(
        default="", metadata={"help": "the run group's id; it limits time and machines"}
    )

    def __post_init__(self) -> None:
        check_place(self.role, self.region)
        if self.run_group and not self.run_group.isdecimal():
            raise BadOption(f"{self.run_group} is not a number", where="--run-group")
        if self.output and split_scheme(self.output)[0] != "s3":
            raise BadOption(f"{self.output} is not in S3", where="--output", do="use s3://")


def definition(gpu: bool) -> str:
    """The workflow in WDL 1.1, with or without accelerators."""
    text = resources.files(__package__).joinpath("levelseq.wdl").read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if gpu or "gpu" not in line)


def calls(job: Job, place: Place) -> list[Call]:
    """`CreateWorkflow` and `StartRun`."""
    _check(job)
    return [
        Call("omics.create_workflow", _workflow(job)),
        Call("omics.start_run", _run(job, place)),
    ]


def start(requests: list[Call], place: Place, client: Any = None) -> str:
    """Create the workflow, wait until it is active, start the run; the run's ARN.

    Raises:
        BadOption: no credentials or region, or the service refuses a request.
        StoreUnavailable: the service does not answer.
    """
    creation, run = requests
    with said("HealthOmics"):
        omics = client or client_of("omics", place.region)
        workflow = omics.create_workflow(**creation.request)["id"]
        omics.get_waiter("workflow_active").wait(id=workflow)
        return str(omics.start_run(**{**run.request, "workflowId": workflow})["arn"])


def _check(job: Job) -> None:
    for address in (job.workspace, *job.deposits):
        if split_scheme(address)[0] != "s3":
            raise BadOption("HealthOmics reaches S3 alone", where=address, do="use s3://")
    if not _REGISTRY.fullmatch(job.image):
        raise BadOption(
            f"{job.image.split('@')[0]} is not in ECR",
            where="--image",
            do="push it to ACCOUNT.dkr.ecr.REGION.amazonaws.com/…",
        )
    if job.spot:
        raise BadOption("HealthOmics has no spot machines", where="--spot", do="leave it out")
    if job.hours is not None:
        raise BadOption(
            "is the run group's to say at HealthOmics",
            where="--time-limit",
            do="name a --run-group with a maximum duration",
        )
    if job.gpu and job.gpu_type and job.gpu_type not in _ACCELERATORS:
        raise BadOption(
            f"{job.gpu_type} is no accelerator of HealthOmics",
            where="--gpu-type",
            do=f"use {', '.join(_ACCELERATORS)}",
        )


def _workflow(job: Job) -> dict[str, Any]:
    archive = _zipped(definition(job.gpu > 0))
    workflow: dict[str, Any] = {
        "name": f"levelseq-{'gpu' if job.gpu else 'cpu'}",
        "engine": "WDL",
        "main": "levelseq.wdl",
        "definitionZip": archive,
        "parameterTemplate": {
            name: {"description": text, "optional": name == "settings"}
            for name, text in _INPUTS.items()
            if job.gpu or "gpu" not in name
        },
        "storageType": "DYNAMIC",
        "tags": {"application": "levelseq"},
    }
    if job.gpu:
        workflow["accelerators"] = "GPU"
    # The same definition asked for again is the same workflow.
    workflow["requestId"] = content_key({**workflow, "definitionZip": archive.hex()})
    return workflow


def _run(job: Job, place: Place) -> dict[str, Any]:
    run: dict[str, Any] = {
        "workflowId": NEW_WORKFLOW,
        "workflowType": "PRIVATE",
        "name": job.id,
        "roleArn": place.role,
        "outputUri": place.output or join(job.workspace, "healthomics"),
        "parameters": _parameters(job),
        "storageType": "DYNAMIC",
        "logLevel": "ALL",
        "retentionMode": "REMOVE",
        "requestId": job.id,
        "tags": dict(job.labels),
    }
    if place.run_group:
        run["runGroupId"] = place.run_group
    return run


def _parameters(job: Job) -> dict[str, Any]:
    settings = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in sorted(job.environment.items())
    )
    asked = {
        "image": job.image,
        "command_line": retrying(job.argv, job.retries),
        "settings": settings,
        "cpu": job.cpu,
        "memory_gib": job.memory,
    }
    if job.gpu:
        asked |= {"gpu": job.gpu, "gpu_type": job.gpu_type or "nvidia-l4"}
    return asked


def _zipped(text: str) -> bytes:
    """A ZIP archive whose bytes depend on the text alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("levelseq.wdl"), text)
    return buffer.getvalue()
