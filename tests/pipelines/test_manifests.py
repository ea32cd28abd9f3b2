"""The manifests render offline and say what Kubernetes understands."""

import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

import levelseq
from levelseq_pipelines.cli import parser

BASE = Path(__file__).parents[2] / "manifests" / "base"
KUBERNETES = "1.31"


@pytest.fixture(scope="module")
def rendered():
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    done = subprocess.run(["kubectl", "kustomize", BASE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {item["kind"]: item for item in yaml.safe_load_all(done.stdout)}


def test_every_manifest_is_valid(rendered):
    kinds = {"Namespace", "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "CronJob"}
    assert rendered.keys() == kinds
    for item in rendered.values():
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_everything_lies_in_the_namespace(rendered):
    namespace = rendered["Namespace"]["metadata"]["name"]
    others = [item for kind, item in rendered.items() if kind != "Namespace"]
    assert {item["metadata"]["namespace"] for item in others} == {namespace}


def test_the_role_has_no_wildcard(rendered):
    for rule in rendered["Role"]["rules"]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_the_recurring_run_is_a_command_that_levelseq_understands(rendered):
    pod = rendered["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    values = rendered["ConfigMap"]["data"] | {"NAMESPACE": "levelseq"}
    words = [*container["command"][1:], *container["args"]]
    for name, value in values.items():
        words = [word.replace(f"$({name})", value) for word in words]
    args = parser().parse_args(words)
    assert args.pipeline == "map_new_data"
    assert args.deposits == [values["DEPOSITS"]]
    assert args.batch == values["BATCH"]
    assert "$(" not in " ".join(words)


def test_the_recurring_run_has_the_released_image_and_no_rights_of_root(rendered):
    pod = rendered["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    image = pod["containers"][0]["image"]
    assert image == f"levelseq/levelseq-cpu:{levelseq.__version__}"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["serviceAccountName"] == rendered["ServiceAccount"]["metadata"]["name"]
