"""The few verbs that a TrainJob's launcher needs of the Kubernetes API."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from levelseq.errors import BadOption, StoreUnavailable
from levelseq.progress import stage
from levelseq.train.trainjob import GROUP, VERSION

__all__ = ["Ended", "LastWords", "TrainerApi"]

_PLURAL = "trainjobs"
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_WATCH_SECONDS = 300
# A connection that is half open answers nothing at all.
_SECONDS = 30
_PAUSE = 5.0
_GONE = 410
_TORCHRUN_CODE = re.compile(r"exitcode\s*:\s*(-?\d+)")


@dataclass(frozen=True)
class Ended:
    """How a TrainJob ended: the condition that is true of it."""

    failed: bool
    message: str

    @classmethod
    def of(cls, job: dict[str, Any]) -> Ended | None:
        """The end of a job as the API gives it; None while it is at work."""
        for condition in job.get("status", {}).get("conditions", []):
            if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
                said = ": ".join(filter(None, (condition.get("reason"), condition.get("message"))))
                return cls(condition["type"] == "Failed", said)
        return None


@dataclass(frozen=True)
class LastWords:
    """What the processes of a job said at last.

    Attributes:
        line: levelseq's one line, without its name; empty when there is none.
        code: the exit code that torchrun reports; 0 when it reports none.
    """

    line: str = ""
    code: int = 0

    @classmethod
    def read(cls, log: str) -> LastWords:
        """The last words in one pod's log."""
        said = [line.partition("levelseq: ")[2] for line in log.splitlines() if _SAYS.search(line)]
        codes = [int(code) for code in _TORCHRUN_CODE.findall(log)]
        return cls(said[-1].strip() if said else "", codes[0] if codes else 0)


_SAYS = re.compile(r"(^|\]:\s*)levelseq: ")


class TrainerApi:
    """TrainJobs of one namespace.

    Args:
        client: an ApiClient of the package `kubernetes`.
        namespace: where the jobs are.
        pause: seconds between two looks where a watch ends early.
    """

    def __init__(self, client: Any, namespace: str, pause: float = _PAUSE) -> None:
        from kubernetes.client import CoreV1Api, CustomObjectsApi

        self._jobs = CustomObjectsApi(client)
        self._core = CoreV1Api(client)
        self._namespace = namespace
        self._pause = pause

    @classmethod
    def configured(cls) -> TrainerApi:
        """The API that this pod's account, or this user's kubeconfig, names.

        Raises:
            BadOption: neither is there.
        """
        from kubernetes import client, config

        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ:
                own = client.Configuration()
                config.load_incluster_config(client_configuration=own)
                namespace = _NAMESPACE.read_text(encoding="utf-8").strip()
                return cls(client.ApiClient(own), namespace)
            file = os.environ.get("KUBECONFIG")
            _, context = config.list_kube_config_contexts(config_file=file)
            users = config.new_client_from_config(config_file=file)
        except config.ConfigException as error:
            raise BadOption(
                "no cluster is configured", where="kubeconfig", do="run in a pod, or set KUBECONFIG"
            ) from error
        return cls(users, context["context"].get("namespace", "default"))

    def create(self, manifest: dict[str, Any]) -> bool:
        """Create a job; False when there is one of that name."""
        with self._failing("create") as answer:
            self._jobs.create_namespaced_custom_object(*self._kind(), manifest)
        return answer.status != 409

    def get(self, name: str) -> dict[str, Any] | None:
        """A job, or None."""
        found: dict[str, Any] | None = None
        with self._failing("get") as answer:
            found = self._jobs.get_namespaced_custom_object(
                *self._kind(), name, _request_timeout=_SECONDS
            )
        return None if answer.status == 404 else found

    def delete(self, name: str, uid: str) -> None:
        """Delete one job and what it started, and wait until it is gone; not another one's."""
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        with self._failing("delete"):
            self._jobs.delete_namespaced_custom_object(*self._kind(), name, body=body)
        while (found := self.get(name)) and found["metadata"]["uid"] == uid:
            time.sleep(self._pause)

    def wait(self, name: str) -> Ended:
        """Watch a job to its end.

        Raises:
            BadOption: somebody deletes it meanwhile.
        """
        while True:
            job = self.get(name)
            if job is None:
                raise BadOption("was deleted while it was at work", where=f"TrainJob {name}")
            ended = Ended.of(job)
            if ended is not None:
                return ended
            self._next_change(name, job["metadata"]["resourceVersion"])

    def _next_change(self, name: str, version: str) -> None:
        """Return when the job has changed, or the watch has ended."""
        from kubernetes.watch import Watch

        with self._failing("watch") as answer:
            changes = Watch().stream(
                self._jobs.list_namespaced_custom_object,
                *self._kind(),
                field_selector=f"metadata.name={name}",
                resource_version=version,
                timeout_seconds=_WATCH_SECONDS,
                _request_timeout=(_SECONDS, _WATCH_SECONDS + _SECONDS),
            )
            for change in changes:
                _tell(change["object"])
                return
        if answer.status:
            time.sleep(self._pause)

    def last_words(self, name: str) -> LastWords:
        """What the job's processes said at last; of several the first that said something."""
        heard: list[LastWords] = []
        with self._failing("read the log of"):
            selector = f"jobset.sigs.k8s.io/jobset-name={name}"
            pods = self._core.list_namespaced_pod(self._namespace, label_selector=selector).items
            for pod in sorted(pods, key=lambda pod: pod.status.phase != "Failed"):
                log = self._core.read_namespaced_pod_log(
                    pod.metadata.name, self._namespace, tail_lines=500
                )
                heard.append(LastWords.read(log))
        return next((words for words in heard if words.line), LastWords())

    def _kind(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self._namespace, _PLURAL

    @contextlib.contextmanager
    def _failing(self, verb: str) -> Iterator[_Answer]:
        """Turn the client's failures into levelseq's; those a caller expects into a status."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        answer = _Answer()
        try:
            yield answer
        except ApiException as error:
            answer.status = int(error.status)
            if not _is_expected(verb, answer.status):
                raise _refused(verb, error) from error
        except HTTPError as error:
            raise StoreUnavailable(
                "the Kubernetes API does not answer", where="TrainJob", do="try again"
            ) from error


@dataclass
class _Answer:
    status: int = 0


def _is_expected(verb: str, status: int) -> bool:
    expected = {"create": (409,), "get": (404,), "delete": (404, 409), "watch": (_GONE,)}
    return status in expected.get(verb, (403, 404, 400))


def _refused(verb: str, error: Any) -> Exception:
    where = f"{_PLURAL}.{GROUP}"
    if error.status in (429, 500, 502, 503, 504):
        return StoreUnavailable(f"the Kubernetes API: {error.reason}", where=where, do="try again")
    if error.status == 404:
        return BadOption(
            "the cluster knows no TrainJobs", where=where, do="install Kubeflow Trainer"
        )
    do = "give the pod's account the role of manifests/base" if error.status == 403 else ""
    return BadOption(f"may not {verb} it: {error.status} {error.reason}", where=where, do=do)


def _tell(job: dict[str, Any]) -> None:
    """One line of how the job stands."""
    status = job.get("status", {})
    for jobs in status.get("jobsStatus", []):
        counts = {key: jobs[key] for key in ("active", "succeeded", "failed") if key in jobs}
        stage("train", "the TrainJob has changed", job=str(jobs.get("name", "")), **counts)
