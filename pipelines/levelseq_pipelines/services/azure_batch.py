"""Azure Batch: one job of one container task in a pool that is there."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Any

from levelseq.errors import BadOption, StoreUnavailable
from levelseq_pipelines.services.call import Call, sdk
from levelseq_pipelines.services.job import Job
from levelseq_pipelines.services.retrying import retrying

__all__ = ["Place", "calls", "start"]

_ACCOUNT = re.compile(r"https://[a-z0-9]+\.[a-z0-9]+\.batch\.azure\.(com|us|cn)/?")
_IDENTITY = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/"
    r"Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Place:
    """The Batch account, the pool in it, and the identity that the pool's machines have."""

    account_url: str = field(metadata={"help": "https://ACCOUNT.REGION.batch.azure.com"})
    pool: str = field(metadata={"help": "the pool; it decides machines, and spot"})
    identity: str = field(
        metadata={"help": "the pool's user-assigned identity, its resource id"},
    )
    client_id: str = field(metadata={"help": "that identity's client id"})

    def __post_init__(self) -> None:
        if not _ACCOUNT.fullmatch(self.account_url):
            raise BadOption(
                f"{self.account_url} is not a Batch account",
                where="--account-url",
                do="use https://ACCOUNT.REGION.batch.azure.com",
            )
        if not _IDENTITY.fullmatch(self.identity):
            raise BadOption(
                f"{self.identity} is not the resource id of a user-assigned identity",
                where="--identity",
            )


def calls(job: Job, place: Place) -> list[Call]:
    """`Jobs - Create Job` and `Tasks - Create Task`, as the REST interface takes them."""
    if job.spot is not None:
        raise BadOption(
            "is not the job's to say at Azure Batch: the pool decides",
            where="--spot" if job.spot else "--no-spot",
            do="name a --pool of Spot or of dedicated machines",
        )
    labels = [{"name": name, "value": value} for name, value in job.labels.items()]
    made = {
        "id": job.id,
        "poolInfo": {"poolId": place.pool},
        "metadata": labels,
        "constraints": {"maxTaskRetryCount": 0},
    }
    task = {
        "id": "run",
        # Batch retries whatever is not 0, so what is worth a retry is retried in the task; a task
        # whose machine was taken away is queued again by the service, without a count.
        "commandLine": f"/bin/sh -c {shlex.quote(retrying(job.argv, job.retries))}",
        "containerSettings": _container(job, place),
        "environmentSettings": [
            {"name": name, "value": value}
            for name, value in sorted(_environment(job, place).items())
        ],
        "constraints": {
            "maxWallClockTime": f"PT{job.seconds}S",
            "maxTaskRetryCount": 0,
            "retentionTime": "P7D",
        },
    }
    ends = {"jobId": job.id, "job": {"onAllTasksComplete": "terminatejob"}}
    return [
        Call("batch.create_job", made),
        Call("batch.create_task", {"jobId": job.id, "task": task}),
        # Only now: a job without tasks would end at once.
        Call("batch.update_job", ends),
    ]


def start(requests: list[Call], place: Place, client: Any = None) -> str:
    """Create the job and its task; the job's address.

    Raises:
        BadOption: no SDK or credentials, or the service refuses a request.
        StoreUnavailable: the service does not answer.
    """
    batch = client or _client(place)
    models = sdk("azure.batch.models", "azure-batch")
    from azure.core import exceptions

    job, task, end = (call.request for call in requests)
    try:
        batch.create_job(models.BatchJobCreateOptions(job))
        batch.create_task(task["jobId"], models.BatchTaskCreateOptions(task["task"]))
        batch.update_job(end["jobId"], models.BatchJobUpdateOptions(end["job"]))
    except exceptions.ClientAuthenticationError as error:
        raise BadOption(
            "no Azure credentials found", where="--service azure-batch", do="run `az login`"
        ) from error
    except exceptions.HttpResponseError as error:
        if error.status_code == 429 or (error.status_code or 0) >= 500:
            raise _busy(place) from error
        line = (error.message or str(error)).splitlines()[0]
        raise BadOption(
            f"Azure Batch refuses the request: {line}", where=place.account_url
        ) from error
    except exceptions.AzureError as error:
        raise _busy(place) from error
    return f"{place.account_url.rstrip('/')}/jobs/{job['id']}"


def _busy(place: Place) -> StoreUnavailable:
    return StoreUnavailable("Azure Batch does not answer", where=place.account_url, do="try again")


def _client(place: Place) -> Any:
    batch = sdk("azure.batch", "azure-batch")
    identity = sdk("azure.identity", "azure-batch")
    return batch.BatchClient(place.account_url, identity.DefaultAzureCredential())


def _container(job: Job, place: Place) -> dict[str, Any]:
    options = ["--rm", f"--cpus={job.cpu}", f"--memory={job.memory}g"]
    options.append(f"--shm-size={max(1, job.memory // 4)}g")
    if job.gpu:
        options.append("--gpus=all")
    return {
        "imageName": job.image,
        "containerRunOptions": " ".join(options),
        "workingDirectory": "containerImageDefault",
        "registry": {
            "registryServer": job.image.split("/")[0],
            "identityReference": {"resourceId": place.identity},
        },
    }


def _environment(job: Job, place: Place) -> dict[str, str]:
    """The store is entered as the pool's identity, unless the job says otherwise."""
    own = {"AZURE_CREDENTIAL_TYPE": "managed_identity", "AZURE_CLIENT_ID": place.client_id}
    return {**own, **job.environment}
