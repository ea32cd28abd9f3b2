"""Google Batch: one job of one task, v1 of its REST form."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from levelseq.errors import BadOption, StoreUnavailable
from levelseq_pipelines.services.call import Call, sdk
from levelseq_pipelines.services.job import Job

__all__ = ["Place", "calls", "start"]

# A machine was preempted (50001), stopped reporting, rebooted, did not answer, was recreated.
_LOST = [50001, 50002, 50003, 50004, 50006]
_WORTH_A_RETRY = 75
_BOOT_DISK_MIB = 50 * 1024
_MACHINE = re.compile(
    r"[a-z]\d[a-z]{0,2}-(standard|highmem|highcpu|megamem|ultramem|highgpu|ultragpu|megagpu|custom)"
    r"(-[a-z0-9]+)+"
)
_ACCELERATOR = re.compile(r"nvidia-[a-z0-9-]+")
_L4 = "nvidia-l4"
# G2 machines come with their L4s: cores -> (GiB, L4s).
_G2 = {
    4: (16, 1),
    8: (32, 1),
    12: (48, 1),
    16: (64, 1),
    24: (96, 2),
    32: (128, 1),
    48: (192, 4),
    96: (384, 8),
}


@dataclass(frozen=True)
class Place:
    """Where the job runs and as whom."""

    project: str = field(metadata={"help": "the Google Cloud project"})
    region: str = field(metadata={"help": "the region"})
    service_account: str = field(metadata={"help": "the account that the job runs as"})
    machine_type: str = field(
        default="", metadata={"help": "the machine (default: what fits; G2 with an L4)"}
    )

    def __post_init__(self) -> None:
        if self.machine_type and not _MACHINE.fullmatch(self.machine_type):
            raise BadOption(
                f"{self.machine_type} is not a machine type of Google",
                where="--machine-type",
                do="use for example n2-standard-8 or g2-standard-8",
            )
        if "@" not in self.service_account:
            raise BadOption(
                f"{self.service_account} is not an account's e-mail address",
                where="--service-account",
            )


def calls(job: Job, place: Place) -> list[Call]:
    """`projects.locations.jobs.create`, with the body as the REST interface takes it."""
    body = {
        "taskGroups": [{"taskCount": 1, "taskSpec": _task(job)}],
        "allocationPolicy": {
            "instances": [_instances(job, place)],
            "serviceAccount": {"email": place.service_account},
            "labels": dict(job.labels),
        },
        "labels": dict(job.labels),
        "logsPolicy": {"destination": "CLOUD_LOGGING"},
    }
    parent = f"projects/{place.project}/locations/{place.region}"
    return [Call("batch.create_job", {"parent": parent, "jobId": job.id, "job": body})]


def start(requests: list[Call], place: Place, client: Any = None) -> str:
    """Create the job; its resource name.

    Raises:
        BadOption: no SDK or credentials, or the service refuses the request.
        StoreUnavailable: the service does not answer.
    """
    batch = sdk("google.cloud.batch_v1", "google-batch")
    from google.api_core import exceptions
    from google.auth.exceptions import DefaultCredentialsError

    request = batch.CreateJobRequest.from_json(json.dumps(requests[0].request))
    try:
        made = (client or batch.BatchServiceClient()).create_job(request=request)
    except DefaultCredentialsError as error:
        raise BadOption(
            "no Google credentials found",
            where="--service google-batch",
            do="set GOOGLE_APPLICATION_CREDENTIALS",
        ) from error
    except exceptions.TooManyRequests as error:
        raise StoreUnavailable(
            "Google Batch has too many requests", where=place.region, do="try again"
        ) from error
    except exceptions.ClientError as error:
        raise BadOption(
            f"Google Batch refuses the job: {error.message}", where=place.project
        ) from error
    except exceptions.GoogleAPIError as error:
        raise StoreUnavailable(
            "Google Batch does not answer", where=place.region, do="try again"
        ) from error
    return str(made.name)


def _task(job: Job) -> dict[str, Any]:
    container: dict[str, Any] = {
        "imageUri": job.image,
        "commands": list(job.argv),
        "options": f"--shm-size={max(1, job.memory // 4)}g",
    }
    environment = dict(job.environment)
    if job.gpu:
        # The drivers are installed on the host, and reach the container so.
        environment.setdefault("LD_LIBRARY_PATH", "/usr/local/nvidia/lib64")
        container["options"] += " --privileged"
        container["volumes"] = [
            f"/var/lib/nvidia/{part}:/usr/local/nvidia/{part}" for part in ("lib64", "bin")
        ]
    return {
        "runnables": [{"container": container}],
        "environment": {"variables": environment},
        "computeResource": {
            "cpuMilli": job.cpu * 1000,
            "memoryMib": job.memory * 1024,
            "bootDiskMib": _BOOT_DISK_MIB,
        },
        "maxRunDuration": f"{job.seconds}s",
        "maxRetryCount": job.retries,
        # What matches no code fails at once: bad input, a refusal, a bug.
        "lifecyclePolicies": [
            {
                "action": "RETRY_TASK",
                "actionCondition": {"exitCodes": [_WORTH_A_RETRY, *_LOST]},
            }
        ],
    }


def _instances(job: Job, place: Place) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "provisioningModel": "STANDARD" if job.spot is False else "SPOT",
    }
    machine = place.machine_type
    if job.gpu:
        kind = job.gpu_type or _L4
        if not _ACCELERATOR.fullmatch(kind):
            raise BadOption(f"{kind} is no accelerator of Google", where="--gpu-type")
        if not machine:
            machine = _g2_machine(job, kind)
        policy["accelerators"] = [{"type": kind, "count": job.gpu}]
    if machine:
        policy["machineType"] = machine
    return {"policy": policy, "installGpuDrivers": bool(job.gpu)}


def _g2_machine(job: Job, kind: str) -> str:
    if kind != _L4:
        raise BadOption(f"is needed with {kind}", where="--machine-type")
    for cores, (memory, gpus) in _G2.items():
        if gpus == job.gpu and cores >= job.cpu and memory >= job.memory:
            return f"g2-standard-{cores}"
    raise BadOption(
        f"no G2 machine has {job.gpu} L4, {job.cpu} cores and {job.memory} GiB",
        where="--gpu",
        do="use 1, 2, 4 or 8 and ask for less, or name a --machine-type and --gpu-type",
    )
