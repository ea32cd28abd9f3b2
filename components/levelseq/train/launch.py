"""Training on several nodes: a TrainJob is started, or found at work, and watched to its end."""

from __future__ import annotations

from levelseq.errors import BadOption, LevelseqError, Retryable
from levelseq.models.saving import MODEL
from levelseq.progress import stage
from levelseq.store import join, open_store
from levelseq.train.key import model_key
from levelseq.train.params import TrainParams
from levelseq.train.trainer_api import Ended, TrainerApi
from levelseq.train.trainjob import ANNOTATION, MANAGER, Launch, job_name, train_command, trainjob

__all__ = ["run"]

_TRIES = 3


def run(
    params: TrainParams,
    cohort: str,
    normalized: str,
    workspace: str,
    asked: Launch,
    api: TrainerApi | None = None,
) -> str:
    """Fit a model as `train` does, by a TrainJob named after it.

    A job of that name that is at work is waited for: the pod that started it may be gone. One that
    failed is made anew, and goes on from the last checkpoint. Only jobs that carry the model's
    annotation are ever deleted.

    Args:
        params: class and sizes.
        cohort: address of the counts.
        normalized: address of a classical method's folder for the same cohort.
        workspace: where `models/<key>/` and `checkpoints/<key>/` are.
        asked: nodes, GPUs, image.
        api: the cluster's API; None: the one that this pod or user is configured for.

    Returns:
        The address of the model; at once when it is there.

    Raises:
        BadInput: training met bad input, the job's name is taken, or there is no Trainer.
        Retryable: the job failed in a way that a retry can mend.
    """
    key = model_key(params, cohort, normalized)
    folder = join(workspace, "models", key)
    if open_store(folder).exists(MODEL):
        stage("train", "the model is there already", model=key)
        return folder
    api = api or TrainerApi.configured()
    manifest = trainjob(key, train_command(params, cohort, normalized, workspace), asked)
    _started(api, manifest, key)
    ended = api.wait(job_name(key))
    if ended.failed:
        raise _failure(api, job_name(key), ended)
    if not open_store(folder).exists(MODEL):
        raise Retryable("the TrainJob is complete, but there is no model", where=folder)
    stage("train", "the TrainJob is complete", model=key)
    return folder


def _started(api: TrainerApi, manifest: dict[str, object], key: str) -> None:
    """See to it that the model's job is at work."""
    name = job_name(key)
    for _ in range(_TRIES):
        if api.create(manifest):
            stage("train", "TrainJob started", trainjob=name)
            return
        found = api.get(name)
        if found is None:
            continue
        about = found["metadata"]
        own = about.get("annotations", {}).get(ANNOTATION) == key
        if not own or MANAGER.items() - about.get("labels", {}).items():
            raise BadOption(
                "a TrainJob of this name was made by somebody else",
                where=name,
                do="delete or rename it",
            )
        if Ended.of(found) is None and "deletionTimestamp" not in about:
            stage("train", "the TrainJob is at work already", trainjob=name)
            return
        api.delete(name, str(about["uid"]))
    raise Retryable("the TrainJob is being changed by somebody else", where=name, do="try again")


def _failure(api: TrainerApi, name: str, ended: Ended) -> LevelseqError:
    """What the processes said, as this task's own error."""
    said = api.last_words(name)
    where, see = f"TrainJob {name}", f"kubectl logs -l jobset.sigs.k8s.io/jobset-name={name}"
    if said.line:
        kinds = {kind.code: kind for kind in (BadOption, Retryable)}
        return kinds.get(said.code, Retryable)(said.line, where=where, do=see)
    return Retryable(ended.message or "failed without a word", where=where, do=see)
