"""AWS Batch: a job definition named by its content, and one job of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from levelseq.cohort import content_key
from levelseq.errors import BadOption
from levelseq.store.aws_errors import said
from levelseq_pipelines.services.aws import check_place, client_of
from levelseq_pipelines.services.call import Call
from levelseq_pipelines.services.job import Job

__all__ = ["Place", "calls", "start"]


@dataclass(frozen=True)
class Place:
    """Where the job runs and as whom."""

    queue: str = field(metadata={"help": "the job queue; it decides machines, and spot"})
    role: str = field(metadata={"help": "the IAM role that the job runs as, an ARN"})
    region: str = field(metadata={"help": "the region"})

    def __post_init__(self) -> None:
        check_place(self.role, self.region)


def calls(job: Job, place: Place) -> list[Call]:
    """`RegisterJobDefinition` and `SubmitJob`."""
    if job.spot is not None:
        raise BadOption(
            "is not the job's to say at AWS Batch: the queue decides",
            where="--spot" if job.spot else "--no-spot",
            do="name a --queue whose compute environment is of type SPOT or EC2",
        )
    definition = {
        "type": "container",
        "containerProperties": _container(job, place),
        "retryStrategy": {
            "attempts": job.retries + 1,
            # The first that matches counts; "Host EC2" is a machine that was taken away.
            "evaluateOnExit": [
                {"onStatusReason": "Host EC2*", "action": "RETRY"},
                {"onExitCode": "75", "action": "RETRY"},
                {"onReason": "*", "action": "EXIT"},
            ],
        },
        "timeout": {"attemptDurationSeconds": job.seconds},
        "platformCapabilities": ["EC2"],
        "propagateTags": True,
        "tags": dict(job.labels),
    }
    # One name, one content: whichever revision is the latest, it says this.
    name = f"levelseq-{content_key(definition)[:16]}"
    submitted = {
        "jobName": job.id,
        "jobQueue": place.queue,
        "jobDefinition": name,
        "propagateTags": True,
        "tags": dict(job.labels),
    }
    return [
        Call("batch.register_job_definition", {"jobDefinitionName": name, **definition}),
        Call("batch.submit_job", submitted),
    ]


def start(requests: list[Call], place: Place, client: Any = None) -> str:
    """Register the definition and submit the job; the job's id.

    Raises:
        BadOption: no credentials or region, or the service refuses a request.
        StoreUnavailable: the service does not answer.
    """
    registration, submission = requests
    with said("AWS Batch"):
        batch = client or client_of("batch", place.region)
        batch.register_job_definition(**registration.request)
        return str(batch.submit_job(**submission.request)["jobArn"])


def _container(job: Job, place: Place) -> dict[str, Any]:
    resources = {"VCPU": job.cpu, "MEMORY": job.memory * 1024, "GPU": job.gpu}
    return {
        "image": job.image,
        "command": list(job.argv),
        "jobRoleArn": place.role,
        "environment": [
            {"name": name, "value": value}
            for name, value in sorted({"AWS_REGION": place.region, **job.environment}.items())
        ],
        "resourceRequirements": [
            {"type": kind, "value": str(amount)} for kind, amount in resources.items() if amount
        ],
        "linuxParameters": {"sharedMemorySize": max(1, job.memory // 4) * 1024},
    }
