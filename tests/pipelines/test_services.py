"""Each service's requests, as its own SDK judges them, and what becomes of a job that fails."""

from __future__ import annotations

import base64
import dataclasses
import fnmatch
import io
import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import azure_models
import botocore.session
import pytest
from azure.batch import models
from botocore.validate import ParamValidator
from google.cloud import batch_v1
from google.protobuf import json_format

from levelseq.errors import BadOption
from levelseq_pipelines.cli import parser
from levelseq_pipelines.commands.study import study_options
from levelseq_pipelines.services import (
    KUBEFLOW,
    SERVICES,
    aws_batch,
    azure_batch,
    google_batch,
    healthomics,
)
from levelseq_pipelines.services.call import as_json
from levelseq_pipelines.services.job import Job, run_words
from levelseq_pipelines.services.retrying import retrying

DIGEST = "sha256:" + "a" * 64
IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/levelseq/levelseq-cuda@{DIGEST}"
ROLE = "arn:aws:iam::123456789012:role/levelseq"
OPTIONS = {
    "batch": "site>lab>run",
    "condition": "disease state",
    "keep": ["a==1", "b!=it's"],
    "interval": True,
    "most_unsupported": 0.5,
    "seed": 7,
}
JOB = Job(
    id="levelseq-study-20300101-000000",
    image=IMAGE,
    argv=run_words("normalize_cohort", ["s3://b/sheet.csv"], "s3://b/w", "study", OPTIONS),
    deposits=("s3://b/sheet.csv",),
    workspace="s3://b/w",
    environment={"AWS_SERVER_SIDE_ENCRYPTION": "aws:kms"},
    labels={"application": "levelseq", "study": "study"},
)
WITH_GPU = dataclasses.replace(JOB, gpu=1, cpu=8, memory=32)
GOOGLE = google_batch.Place("p", "europe-west4", "levelseq@p.iam.gserviceaccount.com")
AWS = aws_batch.Place("levelseq-spot", ROLE, "eu-west-1")
OMICS = healthomics.Place(ROLE, "eu-west-1", run_group="42")
AZURE = azure_batch.Place(
    "https://levelseq.westeurope.batch.azure.com",
    "levelseq-spot",
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/"
    "userAssignedIdentities/levelseq",
    "11111111-2222-3333-4444-555555555555",
)


@pytest.mark.parametrize("job", [JOB, WITH_GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize(("module", "place"), [(aws_batch, AWS), (healthomics, OMICS)])
def test_botocore_accepts_every_request(module, place, job):
    requests = module.calls(job, place)
    assert len(requests) == 2
    for call in requests:
        service, operation = call.operation.split(".")
        model = botocore.session.get_session().get_service_model(service)
        name = "".join(word.capitalize() for word in operation.split("_"))
        shape = model.operation_model(name).input_shape
        report = ParamValidator().validate(call.request, shape)
        assert not report.has_errors(), report.generate_report()
        # The validator lets unknown keys of some shapes pass.
        assert set(call.request) <= set(shape.members)


@pytest.mark.parametrize("job", [JOB, WITH_GPU], ids=["cpu", "gpu"])
def test_googles_protos_accept_the_request_and_lose_nothing(job):
    (call,) = google_batch.calls(job, GOOGLE)
    message = batch_v1.CreateJobRequest.from_json(json.dumps(call.request))
    back = json_format.MessageToDict(batch_v1.CreateJobRequest.pb(message))
    assert _words(back) == _words(call.request)


def _words(content):
    """JSON with numbers as words: protos write 64-bit integers so; false and absent are one."""
    if isinstance(content, dict):
        return {key: _words(value) for key, value in content.items() if value is not False}
    if isinstance(content, list):
        return [_words(value) for value in content]
    return str(content)


@pytest.mark.parametrize("job", [JOB, WITH_GPU], ids=["cpu", "gpu"])
def test_azures_models_accept_the_request(job):
    made, task, end = (call.request for call in azure_batch.calls(job, AZURE))
    azure_models.check(models.BatchJobCreateOptions, made)
    azure_models.check(models.BatchTaskCreateOptions, task["task"])
    azure_models.check(models.BatchJobUpdateOptions, end["job"])
    limit = models.BatchTaskCreateOptions(task["task"]).constraints.max_wall_clock_time
    assert limit.total_seconds() == 24 * 3600


def test_the_check_of_azures_models_sees_what_is_wrong():
    made = azure_batch.calls(JOB, AZURE)[0].request
    for wrong in ({"poolinfo": {}}, {"poolInfo": {"pool": "x"}}, {"priority": "high"}):
        with pytest.raises(AssertionError):
            azure_models.check(models.BatchJobCreateOptions, made | wrong)


@pytest.mark.parametrize("job", [JOB, WITH_GPU], ids=["cpu", "gpu"])
def test_every_service_gets_the_same_job(job):
    """Image, command, environment, sizes and time limit stand in each service's request."""
    google = google_batch.calls(job, GOOGLE)[0].request["job"]["taskGroups"][0]["taskSpec"]
    container = google["runnables"][0]["container"]
    assert (container["imageUri"], tuple(container["commands"])) == (job.image, job.argv)
    drivers = {"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64"} if job.gpu else {}
    assert google["environment"]["variables"] == job.environment | drivers
    assert google["computeResource"]["cpuMilli"] == job.cpu * 1000
    assert google["maxRunDuration"] == "86400s"
    definition, submitted = (call.request for call in aws_batch.calls(job, AWS))
    inside = definition["containerProperties"]
    assert (inside["image"], tuple(inside["command"])) == (job.image, job.argv)
    assert definition["timeout"] == {"attemptDurationSeconds": 86400}
    asked = {one["type"]: int(one["value"]) for one in inside["resourceRequirements"]}
    gpus = {"GPU": 1} if job.gpu else {}
    assert asked == {"VCPU": job.cpu, "MEMORY": job.memory * 1024} | gpus
    assert submitted["tags"] == job.labels
    inputs = healthomics.calls(job, OMICS)[1].request["parameters"]
    assert (inputs["image"], inputs["cpu"], inputs["memory_gib"]) == (
        job.image,
        job.cpu,
        job.memory,
    )
    assert "AWS_SERVER_SIDE_ENCRYPTION=aws:kms" in inputs["settings"]
    task = azure_batch.calls(job, AZURE)[1].request["task"]
    assert task["containerSettings"]["imageName"] == job.image
    for line in (inputs["command_line"], task["commandLine"]):
        assert shlex.join(job.argv) in line or shlex.join(job.argv) in shlex.split(line)[2]


def test_the_container_understands_its_words():
    args = parser().parse_args(list(JOB.argv[1:]))
    assert study_options(args) == OPTIONS
    assert (args.deposits, args.workspace) == (["s3://b/sheet.csv"], "s3://b/w")
    assert JOB.checkpoints == "s3://b/w/checkpoints"


def test_a_definition_at_aws_is_named_by_its_content():
    name = aws_batch.calls(JOB, AWS)[0].request["jobDefinitionName"]
    again = aws_batch.calls(dataclasses.replace(JOB, id="another"), AWS)
    assert [call.request.get("jobDefinition", name) for call in again] == [name, name]
    assert aws_batch.calls(WITH_GPU, AWS)[0].request["jobDefinitionName"] != name


# Exit code, or a machine that was lost: whether it is worth another try.
ENDS = [(1, False), (2, False), (3, False), (137, False), (75, True), ("lost", True)]


@pytest.mark.parametrize(("end", "again"), ENDS)
def test_google_retries_what_a_retry_can_mend(end, again):
    task = google_batch.calls(JOB, GOOGLE)[0].request["job"]["taskGroups"][0]["taskSpec"]
    (policy,) = task["lifecyclePolicies"]
    assert policy["action"] == "RETRY_TASK"
    code = 50001 if end == "lost" else end
    assert (code in policy["actionCondition"]["exitCodes"]) is again
    assert task["maxRetryCount"] == 3


@pytest.mark.parametrize(("end", "again"), ENDS)
def test_aws_retries_what_a_retry_can_mend(end, again):
    """The first rule that matches counts; a glob matches as the shell's does."""
    strategy = aws_batch.calls(JOB, AWS)[0].request["retryStrategy"]
    ended = {
        "onExitCode": "" if end == "lost" else str(end),
        "onStatusReason": "Host EC2 (instance i-1) terminated." if end == "lost" else "Essential",
        "onReason": "",
    }
    action = next(
        rule["action"]
        for rule in strategy["evaluateOnExit"]
        if all(fnmatch.fnmatch(ended[key], rule[key]) for key in rule if key != "action")
    )
    assert action == ("RETRY" if again else "EXIT")
    assert strategy["attempts"] == 4


_ENDS_AS_TOLD = """\
import sys
from pathlib import Path

with open("said", "a") as said:
    said.writelines(f"{word}\\n" for word in sys.argv[1:])
first, *rest = Path("ends").read_text().split()
Path("ends").write_text(" ".join(rest))
sys.exit(int(first))
"""
_NAPS = """\
import sys
import time

time.sleep = lambda seconds: print(seconds, file=open("naps", "a"))
assert sys.argv[1] == "-c"
exec(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("ends", "code", "tries"),
    [
        ([0], 0, 1),
        ([2], 2, 1),
        ([3], 3, 1),
        ([75, 75, 0], 0, 3),
        ([75, 3], 3, 2),
        ([75, 75, 75, 75, 0], 75, 3),
    ],
)
@pytest.mark.parametrize("shell", [["sh", "-c"], ["bash", "-euc"]])
def test_the_tasks_own_retries(tmp_path, ends, code, tries, shell):
    """The line that Azure Batch and HealthOmics run, with a levelseq that ends as it is told."""
    (tmp_path / "ends").write_text("".join(f"{end}\n" for end in ends))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, does in (("levelseq", _ENDS_AS_TOLD), ("python3", _NAPS)):
        (programs / name).write_text(f"#!{sys.executable} -IS\n{does}")
        (programs / name).chmod(0o755)
    (programs / "sh").symlink_to("/bin/sh")
    line = retrying(["levelseq", "run", "it's"], retries=2)
    # The image has a shell and Python, and no other program.
    found = [shutil.which(shell[0]), *shell[1:], line]
    done = subprocess.run(
        found, cwd=tmp_path, env={"PATH": str(programs)}, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (code, b"")
    assert (tmp_path / "said").read_text() == "run\nit's\n" * tries
    naps = (tmp_path / "naps").read_text().split() if tries > 1 else []
    assert naps == ["60", "120"][: tries - 1]


@pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "gpu"])
def test_miniwdl_accepts_the_workflow(tmp_path, gpu):
    file = tmp_path / "levelseq.wdl"
    file.write_text(healthomics.definition(gpu))
    # HealthOmics has runtime keys of its own.
    words = ["--strict", "--no-shellcheck", "--suppress", "UnknownRuntimeKey"]
    done = subprocess.run(
        [sys.executable, "-m", "WDL", "check", *words, str(file)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("gpu" in file.read_text()) is gpu
    assert ("accelerator" in file.read_text()) is gpu


@pytest.mark.parametrize("job", [JOB, WITH_GPU], ids=["cpu", "gpu"])
def test_the_workflow_takes_the_runs_parameters(job):
    import WDL

    created, run = (call.request for call in healthomics.calls(job, OMICS))
    archive = zipfile.ZipFile(io.BytesIO(created["definitionZip"]))
    document = WDL.parse_document(archive.read(created["main"]).decode())
    document.typecheck()
    wanted = document.workflow
    values = WDL.values_from_json(
        run["parameters"], wanted.available_inputs, wanted.required_inputs
    )
    assert {one.name for one in values} == run["parameters"].keys()
    inputs = {one.name for one in wanted.inputs}
    assert created["parameterTemplate"].keys() == inputs
    optional = {k for k, v in created["parameterTemplate"].items() if v["optional"]}
    assert {one.name for one in wanted.required_inputs}.isdisjoint(optional)
    assert (created.get("accelerators") == "GPU") is bool(job.gpu)
    assert created == healthomics.calls(job, OMICS)[0].request


def test_a_dry_run_is_json_with_the_archives_bytes():
    said = json.loads(as_json("healthomics", healthomics.calls(JOB, OMICS)))
    content = base64.b64decode(said["calls"][0]["request"]["definitionZip"])
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["levelseq.wdl"]


@pytest.mark.parametrize(
    ("asked", "machine"),
    [
        ({"gpu": 1, "cpu": 4, "memory": 16}, "g2-standard-4"),
        ({"gpu": 1, "cpu": 4, "memory": 17}, "g2-standard-8"),
        ({"gpu": 2, "cpu": 4, "memory": 16}, "g2-standard-24"),
        ({"gpu": 8, "cpu": 4, "memory": 16}, "g2-standard-96"),
    ],
)
def test_the_smallest_machine_with_the_l4s_is_taken(asked, machine):
    job = dataclasses.replace(JOB, **asked)
    body = google_batch.calls(job, GOOGLE)[0].request["job"]
    (instances,) = body["allocationPolicy"]["instances"]
    assert instances["policy"]["machineType"] == machine
    assert instances["policy"]["accelerators"] == [{"type": "nvidia-l4", "count": asked["gpu"]}]
    assert instances["installGpuDrivers"]


def test_spot_is_googles_default_and_can_be_declined():
    def model(job):
        body = google_batch.calls(job, GOOGLE)[0].request["job"]
        return body["allocationPolicy"]["instances"][0]["policy"]["provisioningModel"]

    assert model(JOB) == model(dataclasses.replace(JOB, spot=True)) == "SPOT"
    assert model(dataclasses.replace(JOB, spot=False)) == "STANDARD"


@pytest.mark.parametrize(
    ("module", "place", "change", "said"),
    [
        (google_batch, GOOGLE, {"gpu": 3}, "--gpu"),
        (google_batch, GOOGLE, {"gpu": 1, "gpu_type": "nvidia-h100-80gb"}, "--machine-type"),
        (google_batch, GOOGLE, {"gpu": 1, "gpu_type": "tpu"}, "--gpu-type"),
        (aws_batch, AWS, {"spot": True}, "--spot: .*queue"),
        (azure_batch, AZURE, {"spot": False}, "--no-spot: .*pool"),
        (healthomics, OMICS, {"spot": True}, "--spot: .*no spot"),
        (healthomics, OMICS, {"hours": 2.0}, "--time-limit: .*run group"),
        (healthomics, OMICS, {"workspace": "gs://b/w"}, "gs://b/w: .*S3"),
        (healthomics, OMICS, {"image": f"docker.io/l@{DIGEST}"}, "--image: .*ECR"),
        (healthomics, OMICS, {"gpu": 1, "gpu_type": "nvidia-h100"}, "--gpu-type: .*nvidia-l40s"),
    ],
)
def test_what_a_service_cannot_do_is_said_before_it_is_asked(module, place, change, said):
    with pytest.raises(BadOption, match=said):
        module.calls(dataclasses.replace(JOB, **change), place)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "levelseq/levelseq-cpu:0.1.0"}, "--image: .*digest"),
        ({"workspace": "/home/me/w"}, "/home/me/w: .*this machine"),
        ({"deposits": ("a.csv",)}, "a.csv: .*this machine"),
        ({"cpu": 0}, "--cpu"),
        ({"retries": 10}, "--retries"),
        ({"hours": 0.0}, "--time-limit"),
        ({"labels": {"Cost Centre": "x"}}, "--cost-label"),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "x"}}, "--env: .*secret"),
        ({"environment": {"AZURE_STORAGE_ACCOUNT_KEY": "x"}}, "--env: .*secret"),
        ({"environment": {"AZURE_STORAGE_SAS_TOKEN": "x"}}, "--env: .*secret"),
        *(
            ({"environment": {name: "x"}}, "--env: .*secret")
            for name in (
                "AZURE_STORAGE_CONNECTION_STRING",
                "NCBI_API_KEY",
                "DEPLOY_PRIVATE_KEY",
                "GITHUB_PAT",
                "PGPASSWD",
                "db_password",
            )
        ),
        ({"environment": {"a b": "x"}}, "--env"),
    ],
)
def test_a_job_that_cannot_be_is_refused(change, said):
    with pytest.raises(BadOption, match=said):
        dataclasses.replace(JOB, **change)


def test_settings_that_are_no_secrets_reach_the_container():
    names = ("LEVELSEQ_GS_KMS_KEY", "AWS_SSE_KMS_KEY_ID", "AZURE_STORAGE_ACCOUNT_NAME")
    assert dataclasses.replace(JOB, environment=dict.fromkeys(names, "x"))


def test_every_service_has_its_tests():
    assert list(SERVICES) == [KUBEFLOW, "google-batch", "aws-batch", "healthomics", "azure-batch"]
    folder = Path(google_batch.__file__).parent
    named = {file.stem for file in folder.glob("*.py")}
    assert {name.replace("-", "_") for name in SERVICES} <= named
