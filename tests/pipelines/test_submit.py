"""`levelseq submit` as a shell sees it: requests that are printed, sent, or refused in one line."""

import json
import re
import shlex
import types
from pathlib import Path

import boto3
import pytest
import requests
from loopback import Answering, serving

from levelseq.errors import BadOption, StoreUnavailable
from levelseq_pipelines.cli import main
from levelseq_pipelines.commands.study import IN_A_CLUSTER
from levelseq_pipelines.pipelines import PIPELINES
from levelseq_pipelines.services import azure_batch, call, google_batch

STUDY = [
    *("--workspace", "s3://bucket/w", "--deposits", "s3://bucket/sheet.csv"),
    *("--batch", "site>run"),
]
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/levelseq-cpu@sha256:" + "a" * 64
ROLE = "arn:aws:iam::123456789012:role/levelseq"
ACCOUNT = "https://levelseq.westeurope.batch.azure.com"
IDENTITY = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/"
    "userAssignedIdentities/levelseq"
)
PLACES = {
    "kubeflow": {"host": "http://kfp"},
    "google-batch": {
        "project": "p",
        "region": "europe-west4",
        "service_account": "levelseq@p.iam.gserviceaccount.com",
        "image": IMAGE,
    },
    "aws-batch": {"queue": "levelseq", "role": ROLE, "region": "us-east-1", "image": IMAGE},
    "healthomics": {"role": ROLE, "region": "us-east-1", "image": IMAGE},
    "azure-batch": {
        "account_url": ACCOUNT,
        "pool": "levelseq",
        "identity": IDENTITY,
        "client_id": "1",
        "image": IMAGE,
    },
}


def words(service, *more, **changed):
    """A whole command line for a service, with some options changed or (None) left out."""
    told = {k: v for k, v in (PLACES[service] | changed).items() if v is not None}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in told.items()]
    return ["submit", "--service", service, *STUDY, *options, *more]


class Api(Answering):
    """Writes down what is posted; answers with what the test laid ready for a path's end."""

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.server.tokens.add(self.headers["Authorization"])
        self.answer()

    do_PATCH = do_POST

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.server.heard.append((self.command, path, json.loads(body) if body else None))
        end = next((end for end in self.server.answers if path.endswith(end)), None)
        status, content = self.server.answers.get(end, (404, {}))
        self.answer_json(status, content)


@pytest.fixture
def api():
    """A server on the loopback: `answers` by the end of a path, `heard` in order."""
    with serving(Api, heard=[], answers={}, tokens=set()) as server:
        yield server


@pytest.fixture
def kubeflow(api):
    experiment = {"experiment_id": "e1", "display_name": "levelseq"}
    api.answers = {
        "healthz": (200, {"multi_user": False}),
        "experiments": (200, {"experiments": [experiment]}),
        "runs": (200, {"run_id": "run-1", "experiment_id": "e1"}),
    }
    return api


def posted(api):
    return [body for method, path, body in api.heard if method == "POST" and path.endswith("/runs")]


def test_kubeflow_gets_a_run_with_the_pipeline_and_its_arguments(levelseq, kubeflow, tmp_path):
    (tmp_path / "token").write_text("of-the-pod")
    token = {"KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "token")}
    told = ["--host", kubeflow.url, "--pipeline", "map_new_data", "--service-account", "levelseq"]
    done = levelseq("submit", *told, *STUDY, **token)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{kubeflow.url}/#/runs/details/run-1"
    assert kubeflow.tokens == {"Bearer of-the-pod"}
    (run,) = posted(kubeflow)
    assert run["service_account"] == "levelseq"
    parameters = run["runtime_config"]["parameters"]
    assert parameters["deposits"] == ["s3://bucket/sheet.csv"]
    assert parameters["batch"] == "site>run"
    assert parameters["workspace"] == "s3://bucket/w"
    spec = run["pipeline_spec"].get("pipeline_spec", run["pipeline_spec"])
    assert spec["pipelineInfo"]["name"] == "levelseq-map-new-data"


def test_what_kubeflow_gets_is_what_the_dry_run_says(kubeflow, capsys):
    told = words("kubeflow", "--service-account=levelseq", host=kubeflow.url)
    assert main([*told, "--dry-run"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert not kubeflow.heard
    assert main(told) == 0
    (run,) = posted(kubeflow)
    assert run.pop("experiment_id") == "e1"
    assert said["calls"] == [{"operation": "runs.create", "request": run}]


@pytest.mark.parametrize("pipeline", IN_A_CLUSTER)
def test_a_run_is_compiled_for_the_clusters_nodes_and_queue(pipeline, kubeflow, capsys):
    told = words("kubeflow", "--cloud=aks", "--queue=levelseq", f"--pipeline={pipeline}")
    assert main([*told, "--dry-run"]) == 0
    (call,) = json.loads(capsys.readouterr().out)["calls"]
    platform = call["request"]["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
    labels = [
        each["podMetadata"]["labels"] for each in platform["deploymentSpec"]["executors"].values()
    ]
    assert all(each["azure.workload.identity/use"] == "true" for each in labels)
    assert {each.get("kueue.x-k8s.io/queue-name") for each in labels} == {None, "levelseq"}


def test_every_pipeline_can_be_submitted():
    assert set(IN_A_CLUSTER) == set(PIPELINES)


def test_train_distributed_is_told_of_its_nodes(capsys):
    told = ["--pipeline=train_distributed", "--nodes=4", "--gpus=8", "--runtime=ours"]
    assert main([*words("kubeflow", *told), "--dry-run"]) == 0, capsys.readouterr().err
    (call,) = json.loads(capsys.readouterr().out)["calls"]
    parameters = call["request"]["runtime_config"]["parameters"]
    assert [parameters[name] for name in ("nodes", "gpus", "runtime")] == [4, "8", "ours"]


@pytest.mark.parametrize(
    ("pipeline", "told", "said"),
    [
        ("watch", "--nodes=4", "--nodes: is not an option of watch"),
        ("normalize_cohort", "--gpus=1", "--gpus: is not an option of normalize_cohort"),
        ("train_distributed", "--nodes=0", "--nodes: "),
        ("train_distributed", "--gpus=all", "--gpus: "),
    ],
)
def test_nodes_that_cannot_be_are_refused(pipeline, told, said, capsys):
    assert main([*words("kubeflow", f"--pipeline={pipeline}", told), "--dry-run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"levelseq: {said}")


@pytest.mark.parametrize("service", list(PLACES))
@pytest.mark.parametrize("rule", ["donor_id!=D7", " donor_id == D7"])
def test_no_service_is_told_of_a_donor(service, rule, capsys):
    told = ["--donor=donor_id", f"--keep={rule}", "--keep=tissue==blood"]
    assert main([*words(service, *told), "--dry-run"]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("levelseq: --keep: ")
    assert "levelseq withdraw" in line
    assert "D7" not in said.err + said.out


def test_a_token_that_kubeflow_does_not_know_is_one_line(levelseq, kubeflow):
    kubeflow.answers["healthz"] = (401, {"error": "no"})
    done = levelseq("submit", "--host", kubeflow.url, *STUDY)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"levelseq: {kubeflow.url}: the API server refuses the request: 401 ")
    assert "KF_PIPELINES_SA_TOKEN_PATH" in line


@pytest.mark.parametrize(("status", "code"), [(400, 2), (403, 2), (429, 75), (500, 75), (503, 75)])
def test_kubeflows_refusals_are_told_apart(kubeflow, capsys, status, code):
    kubeflow.answers["runs"] = (status, {})
    assert main(words("kubeflow", host=kubeflow.url)) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"levelseq: {kubeflow.url}: the API server ")


def test_an_api_server_that_does_not_answer_is_worth_another_try(levelseq):
    done = levelseq("submit", "--host", "http://127.0.0.1:9", *STUDY)
    assert done.returncode == 75, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("levelseq: http://127.0.0.1:9")


@pytest.fixture
def aws_queue(s3_bucket):
    """A job queue at moto's server, which says at once how a job would end and runs none."""
    endpoint = boto3.client("s3").meta.endpoint_url
    requests.post(f"{endpoint}/moto-api/config", json={"batch": {"use_docker": False}}, timeout=9)
    batch, iam = boto3.client("batch"), boto3.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    environment = batch.create_compute_environment(
        computeEnvironmentName="levelseq", type="UNMANAGED", state="ENABLED", serviceRole=role
    )
    order = [{"order": 1, "computeEnvironment": environment["computeEnvironmentArn"]}]
    batch.create_job_queue(
        jobQueueName="levelseq", state="ENABLED", priority=1, computeEnvironmentOrder=order
    )
    return batch


def test_aws_batch_takes_the_job(aws_queue, capsys):
    told = words("aws-batch", "--retries=2", "--cost-label=team=genomics")
    assert main(told) == 0, capsys.readouterr().err
    arn = capsys.readouterr().out.splitlines()[-1]
    (job,) = aws_queue.describe_jobs(jobs=[arn.rpartition("/")[2]])["jobs"]
    definition = job["jobDefinition"].rpartition("/")[2].partition(":")[0]
    found = aws_queue.describe_job_definitions(jobDefinitionName=definition)["jobDefinitions"][-1]
    inside = found["containerProperties"]
    assert inside["image"] == IMAGE
    assert inside["command"][:2] == ["levelseq", "run"]
    assert found["retryStrategy"]["attempts"] == 3
    assert {"name": "AWS_REGION", "value": "us-east-1"} in inside["environment"]
    assert job["tags"]["team"] == "genomics"


def test_aws_batch_says_what_it_refuses(s3_bucket, capsys):
    assert main(words("aws-batch", queue="nowhere")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("levelseq: SubmitJob: AWS Batch refuses the request: ")


@pytest.mark.parametrize("service", ["aws-batch", "healthomics"])
def test_an_aws_that_does_not_answer_is_worth_another_try(service, s3_bucket, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert main(words(service)) == 75
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("service", ["aws-batch", "healthomics"])
def test_a_profile_that_is_not_there_is_one_line(service, capsys, monkeypatch):
    # boto3 keeps the session of an earlier call.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_PROFILE", "nope")
    assert main(words(service)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "(nope)" in line
    assert "AWS_PROFILE" in line


def test_healthomics_makes_the_workflow_and_starts_the_run(api, s3_bucket, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_OMICS", api.url)
    run = "arn:aws:omics:us-east-1:123456789012:run/7"
    api.answers = {
        "/workflow": (201, {"id": "1234567", "status": "CREATING"}),
        "/workflow/1234567": (200, {"id": "1234567", "status": "ACTIVE"}),
        "/run": (201, {"id": "7", "arn": run, "status": "PENDING"}),
    }
    assert main(words("healthomics")) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.splitlines()[-1] == run
    (_, _, created), (_, looked, _), (_, _, started) = api.heard
    assert created["engine"] == "WDL"
    assert looked == "/workflow/1234567"
    assert started["workflowId"] == "1234567"
    assert started["outputUri"] == "s3://bucket/w/healthomics"


@pytest.mark.parametrize(("status", "code"), [(400, 2), (403, 2), (429, 75), (500, 75)])
def test_healthomics_errors_are_told_apart(api, s3_bucket, capsys, monkeypatch, status, code):
    monkeypatch.setenv("AWS_ENDPOINT_URL_OMICS", api.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    api.answers = {"/workflow": (status, {"message": "so it is"})}
    assert main(words("healthomics")) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def made(module, service, capsys):
    """The calls and the place of a whole command line, as the module would send them."""
    kept = types.SimpleNamespace()
    start = module.start
    module.start = lambda calls, place: vars(kept).update(calls=calls, place=place) or "kept"
    try:
        assert main(words(service)) == 0, capsys.readouterr().err
    finally:
        module.start = start
    return kept


def google_client(url):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.batch_v1 import BatchServiceClient
    from google.cloud.batch_v1.services.batch_service.transports import BatchServiceRestTransport

    transport = BatchServiceRestTransport(
        host=url.removeprefix("http://"), url_scheme="http", credentials=AnonymousCredentials()
    )
    return BatchServiceClient(transport=transport)


def test_google_batch_gets_the_job(api, capsys):
    kept = made(google_batch, "google-batch", capsys)
    api.answers = {"/jobs": (200, {"name": "projects/p/locations/europe-west4/jobs/j"})}
    name = google_batch.start(kept.calls, kept.place, google_client(api.url))
    assert name == "projects/p/locations/europe-west4/jobs/j"
    ((method, path, body),) = api.heard
    assert (method, path) == ("POST", "/v1/projects/p/locations/europe-west4/jobs")
    container = body["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]
    assert container["imageUri"] == IMAGE


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, BadOption), (409, BadOption), (429, StoreUnavailable), (503, StoreUnavailable)],
)
def test_google_batchs_errors_are_told_apart(api, capsys, status, kind):
    kept = made(google_batch, "google-batch", capsys)
    api.answers = {"/jobs": (status, {"error": {"code": status, "message": "so it is"}})}
    with pytest.raises(kind) as caught:
        google_batch.start(kept.calls, kept.place, google_client(api.url))
    assert "\n" not in str(caught.value)


def azure_client(url):
    from azure.batch import BatchClient
    from azure.core.credentials import AzureNamedKeyCredential

    return BatchClient(url, AzureNamedKeyCredential("levelseq", "a2V5"), retry_total=0)


def test_azure_batch_gets_the_job_and_its_task(api, capsys):
    kept = made(azure_batch, "azure-batch", capsys)
    job = kept.calls[0].request["id"]
    api.answers = {"/jobs": (201, {}), "/tasks": (201, {}), f"/jobs/{job}": (200, {})}
    assert azure_batch.start(kept.calls, kept.place, azure_client(api.url)).endswith(f"/jobs/{job}")
    (_, _, first), (_, path, task), (method, _, last) = api.heard
    assert first == kept.calls[0].request
    assert (path, task) == (f"/jobs/{job}/tasks", kept.calls[1].request["task"])
    assert (method, last) == ("PATCH", {"onAllTasksComplete": "terminatejob"})


@pytest.mark.parametrize(
    ("status", "kind"), [(403, BadOption), (409, BadOption), (503, StoreUnavailable)]
)
def test_azure_batch_says_what_it_refuses(api, capsys, status, kind):
    kept = made(azure_batch, "azure-batch", capsys)
    api.answers = {"/jobs": (status, {"code": "No", "message": {"value": "so it is"}})}
    with pytest.raises(kind) as caught:
        azure_batch.start(kept.calls, kept.place, azure_client(api.url))
    assert "\n" not in str(caught.value)


def test_azure_batch_that_does_not_answer_is_worth_another_try(capsys):
    kept = made(azure_batch, "azure-batch", capsys)
    with pytest.raises(StoreUnavailable):
        azure_batch.start(kept.calls, kept.place, azure_client("http://127.0.0.1:9"))


@pytest.mark.parametrize("service", list(PLACES))
def test_a_dry_run_prints_json_and_sends_nothing(service, capsys, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *told: pytest.fail("something was sent"))
    assert main([*words(service), "--dry-run"]) == 0
    told = capsys.readouterr()
    assert not told.err
    said = json.loads(told.out)
    assert said["service"] == service
    assert all(one["request"] for one in said["calls"])
    assert "s3://bucket/sheet.csv" in told.out


@pytest.mark.parametrize(
    ("service", "more", "changed", "said"),
    [
        *((service, [], {"workspace": "w"}, "this machine") for service in PLACES),
        *((service, ["--genes", "g.csv"], {}, "this machine") for service in PLACES),
        ("kubeflow", [], {"host": None}, "--host: is needed with --service kubeflow"),
        ("kubeflow", ["--cpu", "4"], {}, "--cpu: is not an option of kubeflow"),
        ("kubeflow", ["--cloud", "moon"], {}, "--cloud: 'moon' is no cloud"),
        ("aws-batch", ["--pipeline", "watch"], {}, "--pipeline: watch runs on Kubeflow alone"),
        ("kubeflow", ["--time-limit", "4"], {}, "--time-limit: is not an option of kubeflow"),
        ("google-batch", [], {"project": None}, "--project: is needed"),
        ("google-batch", [], {"service_account": "me"}, "--service-account: me is not"),
        ("google-batch", [], {"machine_type": "big"}, "--machine-type: big is not"),
        ("google-batch", [], {"image": "levelseq:0.1.0"}, "--image: .*no digest"),
        ("google-batch", [], {"image": None}, "--image: .*no digest"),
        ("google-batch", ["--queue", "q"], {}, "--queue: is not an option of google-batch"),
        ("aws-batch", [], {"queue": None}, "--queue: is needed"),
        ("aws-batch", [], {"role": "levelseq"}, "--role: levelseq is not a role's ARN"),
        ("aws-batch", [], {"region": "europe"}, "--region: europe is not"),
        ("aws-batch", ["--spot"], {}, "--spot: .*the queue decides"),
        ("aws-batch", ["--cost-label", "x"], {}, "--cost-label: .*NAME=VALUE"),
        ("healthomics", [], {"role": None}, "--role: is needed"),
        ("healthomics", ["--spot"], {}, "--spot: HealthOmics has no spot"),
        ("healthomics", [], {"run_group": "g"}, "--run-group: g is not a number"),
        ("healthomics", [], {"output": "logs"}, "--output: logs is not in S3"),
        ("azure-batch", [], {"pool": None}, "--pool: is needed"),
        ("azure-batch", [], {"account_url": "levelseq"}, "--account-url: levelseq is not"),
        ("azure-batch", [], {"identity": "levelseq"}, "--identity: levelseq is not"),
        ("azure-batch", ["--env", "DB_PASSWORD=x"], {}, "--env: DB_PASSWORD is a secret"),
    ],
)
def test_bad_input_is_one_line(service, more, changed, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*words(service, *more, **changed), "--dry-run"]) == 2
    told = capsys.readouterr()
    assert not told.out
    (line,) = told.err.splitlines()
    assert re.search(said, line), line


def test_the_help_says_what_a_time_limit_covers(capsys):
    with pytest.raises(SystemExit):
        main(["submit", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "of one attempt; at azure-batch of all together" in said


def test_an_sdk_that_is_not_there_is_named_with_its_extra():
    with pytest.raises(BadOption, match=r"pip install 'levelseq\[google-batch\]'"):
        call.sdk("google.cloud.no_such_module", "google-batch")


COMMANDS = re.findall(
    r"^```\n((?:[A-Z_]+=\S+ \\\n)*levelseq submit .*?)^```",
    (Path(__file__).parents[2] / "docs" / "batch-services.md").read_text(encoding="utf-8"),
    re.M | re.S,
)


def test_the_documentation_has_a_command_for_each_service():
    named = {re.search(r"--service (\S+)", command)[1] for command in COMMANDS[1:]}
    assert named == set(PLACES)


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_a_command_of_the_documentation_is_complete(command, capsys, monkeypatch):
    told = shlex.split(command.replace("\\\n", " "))
    while "=" in told[0]:
        monkeypatch.setenv(*told.pop(0).split("=", 1))
    assert main([*told[1:], "--dry-run"]) == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["calls"]
