"""manifests/README.md leads from an empty cluster to a run: what it says can be checked offline."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess

import kfp
import pytest
import yaml
from pod_policy import pods
from rendered import CLOUDS, MANIFESTS, OVERLAYS, objects_of, only
from resource_schemas import INDEX, validate

from levelseq.registry import sinks
from levelseq_pipelines.cli import parser
from levelseq_pipelines.pipelines import PIPELINES

README = (MANIFESTS / "README.md").read_text()
ROOT = MANIFESTS.parent
# Set by the shell, or by a loop or a document inside of a block.
GIVEN = {"kind", "RANDOM", "2"}


def _blocks(cloud: str) -> list[str]:
    """The shell blocks that a person on one cloud runs, in order."""
    blocks, mine = [], True
    for part in re.split(r"^(?=##)", README, flags=re.M):
        title = part.splitlines()[0]
        mine = not title.startswith("### ") or not set(re.findall(r"\w+", title)) & set(CLOUDS)
        mine = mine or cloud in re.findall(r"\w+", title)
        if mine:
            blocks += re.findall(r"^```sh\n(.*?)^```$", part, flags=re.M | re.S)
    return blocks


def _block(cloud: str, words: str) -> str:
    (found,) = (block for block in _blocks(cloud) if words in block)
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_block_is_shell(cloud):
    assert len(_blocks(cloud)) > 12
    for block in _blocks(cloud):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_variable_was_set_before(cloud):
    known = set(GIVEN)
    for block in _blocks(cloud):
        shell = re.sub(r"python - <<'EOF'.*?^EOF$", "", block, flags=re.M | re.S)
        for line in shell.splitlines():
            used = set(re.findall(r"\$\{?([A-Z_]+|[a-z]+)\b", line)) - known
            assigned = set(re.findall(r"\b([A-Z_]+)=", line)) if "export " in line else set()
            assert used <= assigned, line
            known |= assigned


def test_every_path_exists():
    for path in re.findall(r"manifests/[\w./-]+[\w]", README.replace("$CLOUD", "gke")):
        if (
            "kustomize" not in path
            and "overlays/manager" not in path
            and path != "manifests/README.md"
        ):
            assert (ROOT / path).exists(), path
    for folder in re.findall(r"`((?:base|cluster|clouds|kubeflow|events)/[\w./-]*)`", README):
        assert (MANIFESTS / folder).exists(), folder


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_is_applied_is_what_the_tests_render(cloud):
    applied = re.findall(r"apply -k manifests/(\S+)", "\n".join(_blocks(cloud)))
    assert [folder.replace("$CLOUD", cloud) for folder in applied] == [f"standalone/{cloud}"]
    assert f"standalone/{cloud}" in OVERLAYS


def test_versions_are_the_ones_that_were_checked():
    (versions,) = re.findall(r"export KFP=(\S+) KUEUE=(\S+) TRAINER=v(\S+)", README)
    assert versions[0] == kfp.__version__
    assert versions[2] == INDEX["TrainingRuntime"]["version"]


@pytest.mark.parametrize("given", ["", "  - pod\n", '  - "pod"\n'])
def test_kueue_is_told_of_pods_once(given, tmp_path):
    config = f'integrations:\n  frameworks:\n  - "batch/job"\n{given}#  - "pod"\nresources: {{}}\n'
    (tmp_path / "kueue.yaml").write_text(config)
    (line,) = (line for line in README.splitlines() if line.startswith("grep -qE"))
    for _ in range(2):
        subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True)
    told = yaml.safe_load((tmp_path / "kueue.yaml").read_text())
    assert sorted(told["integrations"]["frameworks"]) == ["batch/job", "pod"]


def _settings(cloud: str) -> str:
    """`settings.env` as the README's own commands write it, the cloud's tools standing in."""
    store = _block(cloud, "export SETTINGS=")
    export = store[store.index("export SETTINGS=") :]
    document = _block(cloud, "levelseq simulate").split("settings.env ", 1)[1]
    script = f"aws() {{ echo 1.33.5-20250920; }}\n{export}\ncat {document.split('kubectl')[0]}"
    environment = {name: name.lower() for name in re.findall(r"\$([A-Z_]+)", script)}
    environment |= {"CLOUD": cloud, "IMAGE_CPU": "r/c@sha256:1", "IMAGE_CUDA": "r/g@sha256:2"}
    environment.pop("SETTINGS")
    done = subprocess.run(
        ["bash", "-eu"], input=script, capture_output=True, text=True, env=environment | _path()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _path() -> dict[str, str]:
    return {"PATH": os.environ["PATH"]}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_settings_that_it_writes_reach_the_objects(cloud, tmp_path):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    copy = tmp_path / "manifests"
    shutil.copytree(MANIFESTS, copy)
    file = copy / "clouds" / cloud / "settings.env"
    shipped = {line.partition("=")[0] for line in file.read_text().splitlines()}
    written = dict(line.split("=", 1) for line in _settings(cloud).splitlines() if line)
    assert shipped <= written.keys()
    file.write_text(_settings(cloud))
    objects = objects_of(copy / "standalone" / cloud)
    for item in objects:
        validate(item)
    images = {pod["containers"][0]["image"] for item in objects for pod in pods(item)}
    assert images == {"r/c@sha256:1", "r/g@sha256:2"}
    assert (
        only(objects, "ConfigMap", "levelseq-settings")["data"]["DEPOSITS"] == written["DEPOSITS"]
    )
    settings = only(objects, "ConfigMap", "levelseq-settings")["data"]
    demo = {"LABEL": "cell_type", "CONDITION": "condition", "DONOR": "donor"}
    assert demo.items() <= settings.items()
    if cloud == "eks":
        node_class = only(objects, "EC2NodeClass", "levelseq")["spec"]
        assert node_class["role"] == "eksctl-KarpenterNodeRole-cluster"
        assert node_class["amiSelectorTerms"] == [{"alias": "al2023@v20250920"}]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_command_of_levelseq_parses(cloud):
    lines = [line for block in _blocks(cloud) for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("levelseq ")]
    assert [command.split()[1] for command in commands] == ["simulate", "compile"]
    for command in commands:
        words = shlex.split(command.replace("$CLOUD", cloud))[1:]
        parser().parse_args(words)


def test_the_first_run_is_one_that_the_pipeline_takes():
    (program,) = re.findall(r"python - <<'EOF'\n(.*?)^EOF$", README, flags=re.M | re.S)
    calls = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Call)]
    (run,) = (c for c in calls if ast.unparse(c.func).endswith("run_from_pipeline_package"))
    (arguments,) = (keyword.value for keyword in run.keywords if keyword.arg == "arguments")
    names = {ast.literal_eval(key) for key in arguments.keys}
    inputs = PIPELINES["normalize_cohort"].component_spec.inputs
    assert names <= inputs.keys()
    assert {name for name, given in inputs.items() if not given.optional} <= names
    assert ast.literal_eval(run.args[0]) == "compiled/normalize_cohort.yaml"


def test_all_pipelines_that_were_compiled_are_uploaded():
    (folder,) = re.findall(r"^levelseq compile .*--out (\S+)$", README, flags=re.M)
    uploads = re.findall(r"^python -m levelseq_pipelines.upload (\S+) --version \S+", README, re.M)
    assert uploads == [folder]


def test_nvidia_s_plugin_tolerates_what_azure_s_spot_pool_has():
    (patch,) = re.findall(r"-p '(\[.*tolerations.*\])'", _block("aks", "az aks create"))
    (added,) = json.loads(patch)
    objects = yaml.safe_load_all((MANIFESTS / "clouds" / "aks" / "node-pools.yaml").read_text())
    spot = next(item for item in objects if item["metadata"]["name"] == "levelseq-gpu-spot")
    taints = {taint["key"] for taint in spot["spec"]["template"]["spec"]["taints"]}
    assert added["path"] == "/spec/template/spec/tolerations/-"
    assert taints == {"nvidia.com/gpu", added["value"]["key"]}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_images_are_built_by_the_engine_that_the_later_commands_ask(cloud):
    made = [line for line in _block(cloud, "make images").splitlines() if "make images" in line]
    assert len(made) == 2
    assert all("BUILD_FLAGS='--engine docker'" in line for line in made)
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in made[0]


def test_the_sinks_secret_has_the_keys_that_are_read():
    section = README[README.index("The secret `levelseq-sinks`") : README.index("## 5.")]
    named = set(re.findall(r"`((?:MLFLOW|LEVELSEQ)_\w+)`", section))
    assert named == set(sinks.VARIABLES)
