"""Training by a TrainJob, against a server on the loopback that plays the Kubernetes API."""

from pathlib import Path

import jsonschema
import pytest

from levelseq.errors import BadOption, Retryable, StoreUnavailable
from levelseq.models.saving import MODEL
from levelseq.train import TrainParams, launch
from levelseq.train.key import model_key
from levelseq.train.trainer_api import LastWords, TrainerApi
from levelseq.train.trainjob import Launch, job_name, train_command, trainjob
from train.trainer_server import JOBS, Cluster

ASKED = Launch(image="levelseq/levelseq-cuda:0.1.0", nodes=2, gpus="1", cpu="4", memory="16Gi")
PARAMS = TrainParams(model_class="vae", seed=3, use_labels=True)
COMPLETE = {"conditions": [{"type": "Complete", "status": "True", "reason": "JobsCompleted"}]}
FAILED = {
    "conditions": [
        {"type": "Suspended", "status": "False", "reason": "Resumed"},
        {"type": "Failed", "status": "True", "reason": "FailedJobs", "message": "jobset failed"},
    ]
}
AT_WORK = {"jobsStatus": [{"name": "node", "active": 2, "succeeded": 0, "failed": 0}]}
REPORT = """
levelseq: --batch-size: 8 cells in a minibatch are fewer than 8 for each of 2 processes (give more)
E1122 torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
Root Cause (first observed failure):
  rank      : 0 (local_rank: 0)
  exitcode  : {code} (pid: 17)
"""


@pytest.fixture
def cluster():
    server = Cluster()
    yield server
    server.stop()


@pytest.fixture
def api(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    made = TrainerApi.configured()
    made._pause = 0.01
    return made


@pytest.fixture
def prepared(monkeypatch, tmp_path):
    """Where the model will be, with a cohort that nobody needs to read."""
    key = "0123456789abcdef" * 2
    monkeypatch.setattr(launch, "model_key", lambda *_: key)
    return key, tmp_path / "W" / "models" / key


def write_model(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / MODEL).write_text("{}")


def start(api, tmp_path):
    return launch.run(PARAMS, "s3://b/c", "s3://b/n", str(tmp_path / "W"), ASKED, api)


def verbs(cluster, verb):
    return [path for made, path in cluster.requests if made == verb]


def made_by_us(key, **status):
    job = trainjob(key, ["torchrun"], ASKED)
    return job | ({"status": status} if status else {})


def test_a_job_is_started_watched_to_its_end_and_its_model_given(cluster, api, prepared, tmp_path):
    key, folder = prepared
    cluster.ends = [AT_WORK, COMPLETE]
    cluster.requests.clear()
    write_later = folder.parent.parent  # the model appears while the job is at work
    write_later.mkdir(parents=True)
    write_model_once = cluster.put

    def put(job):
        if job.get("status") == COMPLETE:
            write_model(folder)
        return write_model_once(job)

    cluster.put = put
    assert start(api, tmp_path) == str(folder)
    assert verbs(cluster, "POST") == [JOBS]
    assert verbs(cluster, "DELETE") == []
    assert cluster.jobs[job_name(key)]["status"] == COMPLETE


def test_a_model_that_is_there_asks_the_cluster_nothing(cluster, api, prepared, tmp_path):
    write_model(prepared[1])
    assert start(api, tmp_path) == str(prepared[1])
    assert cluster.requests == []


def test_a_job_that_is_at_work_is_waited_for(cluster, api, prepared, tmp_path):
    key, _ = prepared
    mine = cluster.put(made_by_us(key, **AT_WORK))
    cluster.ends = [FAILED]
    with pytest.raises(Retryable, match="jobset failed"):
        start(api, tmp_path)
    assert verbs(cluster, "DELETE") == []
    assert cluster.jobs[job_name(key)]["metadata"]["uid"] == mine["metadata"]["uid"]


def test_a_failed_job_of_an_earlier_try_is_made_anew(cluster, api, prepared, tmp_path):
    key, _ = prepared
    old = cluster.put(made_by_us(key, **FAILED))["metadata"]["uid"]
    cluster.ends = [FAILED]
    with pytest.raises(Retryable):
        start(api, tmp_path)
    assert verbs(cluster, "DELETE") == [f"{JOBS}/{job_name(key)}"]
    assert cluster.jobs[job_name(key)]["metadata"]["uid"] != old


def test_a_job_that_somebody_else_made_is_left_alone(cluster, api, prepared, tmp_path):
    key, _ = prepared
    foreign = made_by_us(key, **FAILED)
    del foreign["metadata"]["annotations"]
    cluster.put(foreign)
    with pytest.raises(BadOption, match="made by somebody else"):
        start(api, tmp_path)
    assert verbs(cluster, "DELETE") == []


@pytest.mark.parametrize(("code", "kind"), [(2, BadOption), (75, Retryable), (-9, Retryable)])
def test_what_the_processes_said_is_the_tasks_own_error(
    cluster, api, prepared, tmp_path, code, kind
):
    cluster.ends = [FAILED]
    cluster.log = REPORT.format(code=code)
    with pytest.raises(kind) as caught:
        start(api, tmp_path)
    assert "8 cells in a minibatch are fewer" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert f"TrainJob {job_name(prepared[0])}" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "reason", "kind", "said"),
    [
        (403, "Forbidden", BadOption, "may not create it: 403"),
        (404, "NotFound", BadOption, "install Kubeflow Trainer"),
        (503, "Unavailable", StoreUnavailable, "try again"),
    ],
)
def test_what_the_cluster_refuses_is_one_line(
    cluster, api, prepared, tmp_path, status, reason, kind, said
):
    cluster.refuses = (status, reason)
    with pytest.raises(kind, match=said):
        start(api, tmp_path)


def test_an_api_that_does_not_answer_is_worth_another_try(api, prepared, tmp_path, cluster):
    cluster.stop()
    with pytest.raises(StoreUnavailable, match="does not answer"):
        start(api, tmp_path)


def test_the_last_words_are_the_last_line_of_levelseq_and_the_first_code_of_torchrun():
    log = "[rank0]: levelseq: a: first\n[rank0]: levelseq: b: last (do)\nexitcode  : 2 (pid: 1)\n"
    assert LastWords.read(log) == LastWords("b: last (do)", 2)
    assert LastWords.read("nothing of ours") == LastWords()


# As trainer.kubeflow.org/v1alpha1 has them (Kubeflow Trainer 2.3); unknown fields are refused.
TEXTS = {"type": "array", "items": {"type": "string"}}
QUANTITIES = {"type": "object", "additionalProperties": {"type": "string"}}
TRAINER = {
    "image": {"type": "string", "maxLength": 500},
    "command": {**TEXTS, "maxItems": 128},
    "args": {**TEXTS, "maxItems": 128},
    "env": {"type": "array", "maxItems": 128},
    "numNodes": {"type": "integer"},
    "numProcPerNode": {"type": "integer"},
    "resourcesPerNode": {
        "properties": {"requests": QUANTITIES, "limits": QUANTITIES},
        "additionalProperties": False,
    },
}
RUNTIME = {
    "properties": {name: {"type": "string"} for name in ("name", "apiGroup", "kind")},
    "required": ["name"],
    "additionalProperties": False,
}
SPEC = {
    "properties": {
        "runtimeRef": RUNTIME,
        "trainer": {"properties": TRAINER, "additionalProperties": False},
        "activeDeadlineSeconds": {"type": "integer", "minimum": 1},
        "suspend": {"type": "boolean"},
    },
    "required": ["runtimeRef"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("gpus", ["0", "1", "8"])
def test_the_trainjob_has_the_fields_that_the_trainer_knows(gpus):
    asked = ASKED.model_copy(update={"gpus": gpus, "queue": "levelseq"})
    job = trainjob("ab" * 16, train_command(PARAMS, "s3://b/c", "s3://b/n", "s3://b/w"), asked)
    jsonschema.validate(job["spec"], SPEC)
    name = job["metadata"]["name"]
    assert name[0].isalpha()
    assert len(name) <= 63
    # Pods are named after it: JobSet adds the replicated job, two numbers and five letters.
    assert len(f"{name}-node-0-0-abcde") <= 63
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "levelseq"
    trainer = job["spec"]["trainer"]
    assert trainer["numProcPerNode"] == max(1, int(gpus))
    limits = trainer["resourcesPerNode"]["limits"]
    assert limits == {"memory": "16Gi"} | ({"nvidia.com/gpu": gpus} if gpus != "0" else {})
    assert job["spec"]["runtimeRef"]["kind"] == "TrainingRuntime"
    assert not any("value" in item for item in trainer["env"]), "a secret in plain text"


def test_the_processes_run_the_same_command_as_a_user():
    from levelseq_pipelines.cli import parser

    words = train_command(PARAMS, "s3://b/c", "s3://b/n", "s3://b/w")
    assert words[:3] == ["torchrun", "--no-python", "levelseq"]
    args = parser().parse_args(words[3:])
    given = {name: value for name, value in vars(args).items() if name in TrainParams.model_fields}
    assert TrainParams.checked(**given) == PARAMS
    assert (args.cohort, args.normalized, args.workspace) == ("s3://b/c", "s3://b/n", "s3://b/w")


def test_the_jobs_name_is_the_models_key(tmp_path, monkeypatch):
    from levelseq.train import key

    class Read:
        fingerprint = "f"
        manifest = {"key": "n"}  # noqa: RUF012

    monkeypatch.setattr(key, "open_cohort", lambda _: Read)
    monkeypatch.setattr(key, "open_normalized", lambda _: Read)
    one, other = (model_key(TrainParams(seed=seed), "c", "n") for seed in (0, 1))
    assert one != other
    assert model_key(TrainParams(checkpoint_seconds=1), "c", "n") == one
