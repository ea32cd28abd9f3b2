"""The shipped YAML is what the source compiles to, and what a cluster can read."""

import json
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp import components, dsl
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from levelseq.doors import IMAGE
from levelseq_pipelines.clouds import CLOUDS
from levelseq_pipelines.compile import MANIFESTS, compiled_yaml, manifest_yaml, without_comments
from levelseq_pipelines.graph import TRAINING
from levelseq_pipelines.pipelines import PIPELINES
from levelseq_pipelines.scheduling import Placement, placed

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"
FILE_LIMIT = 250_000
ANNOTATION_LIMIT = 256 * 1024
LONG_IMAGE = "europe-west4-docker.pkg.dev/a-project/a-repository/levelseq@sha256:" + 64 * "a"
CONTROL_FLOW = ("comp-condition", "comp-exit-handler", "comp-for-loop")


@pytest.fixture(params=PIPELINES)
def shipped(request):
    return COMPILED / f"{request.param}.yaml"


@pytest.fixture
def pipeline(shipped):
    return next(iter(yaml.safe_load_all(shipped.read_text())))


def tasks_of(pipeline):
    """Every task of every graph, those that only group others left out."""
    dags = [pipeline["root"], *pipeline["components"].values()]
    tasks = [item for dag in dags for item in dag.get("dag", {}).get("tasks", {}).items()]
    return [
        (name, task)
        for name, task in tasks
        if not task["componentRef"]["name"].startswith(CONTROL_FLOW)
    ]


def parses(pipeline, platform):
    spec = json_format.ParseDict(pipeline, PipelineSpec())
    json_format.ParseDict(platform, PlatformSpec())
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert settings.keys() == pipeline["deploymentSpec"]["executors"].keys()
    for executor in settings.values():
        json_format.ParseDict(executor, KubernetesExecutorConfig())
    return spec


def test_the_shipped_yaml_is_current(shipped):
    fresh = without_comments(compiled_yaml(shipped.stem))
    assert without_comments(shipped.read_text()) == fresh, "run `make compile`"


def test_the_shipped_yaml_parses_as_a_pipeline_and_its_kubernetes_settings(shipped):
    pipeline, platform = yaml.safe_load_all(shipped.read_text())
    parses(pipeline, platform)
    assert {"plan", "ingest", "validate", "enforce"} <= {name for name, _ in tasks_of(pipeline)}


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("name", PIPELINES)
def test_every_cloud_gets_files_that_fit_into_an_object_of_kubernetes(name, cloud):
    chosen = Placement(cloud=cloud, queue="levelseq", image=LONG_IMAGE, gpu_image=LONG_IMAGE)
    text, manifest = compiled_yaml(name, chosen), manifest_yaml(name, chosen)
    assert len(text) < FILE_LIMIT
    assert len(manifest) < FILE_LIMIT
    parses(*yaml.safe_load_all(text))
    # `kubectl apply` keeps the object, compact, in an annotation of itself.
    _, version = yaml.safe_load_all(manifest)
    assert len(json.dumps(version, separators=(",", ":"))) < 0.8 * ANNOTATION_LIMIT


@pytest.mark.parametrize("cloud", ["gke", "aks"])
def test_tasks_that_run_the_same_share_a_component_and_only_those(cloud):
    chosen = Placement(cloud=cloud, queue="levelseq")
    spec, platform = yaml.safe_load_all(compiled_yaml("watch", chosen))
    executors = spec["deploymentSpec"]["executors"]
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    leaves = {n: c for n, c in spec["components"].items() if "executorLabel" in c}
    alike = [
        json.dumps(
            [
                c | {"executorLabel": ""},
                executors[c["executorLabel"]],
                settings[c["executorLabel"]],
            ],
            sort_keys=True,
        )
        for c in leaves.values()
    ]
    assert len(set(alike)) == len(alike)
    assert {c["executorLabel"] for c in leaves.values()} == executors.keys()
    tasks = tasks_of(spec)
    assert {task["componentRef"]["name"] for _, task in tasks} == leaves.keys()
    assert len(tasks) > len(leaves)
    # A task goes where kfp alone would have sent it: same image, size, settings and inputs.
    with placed(chosen):
        plain = dsl.pipeline(name=PIPELINES["watch"].name)(PIPELINES["watch"].pipeline_func)
    given = json_format.MessageToDict(plain.pipeline_spec)
    given_settings = json_format.MessageToDict(plain.platform_spec)
    assert sorted(ran(spec, platform)) == sorted(ran(given, given_settings))


def test_on_a_laptop_every_task_has_a_component_and_so_a_folder_of_its_own(pipeline):
    refs = [task["componentRef"]["name"] for _, task in tasks_of(pipeline)]
    assert len(set(refs)) == len(refs)


def ran(spec, platform):
    """What each task runs, beside its name and its place, as text."""
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    found = []
    for name, task in tasks_of(spec):
        component = spec["components"][task["componentRef"]["name"]]
        label = component["executorLabel"]
        work = [
            name,
            {key: value for key, value in task.items() if key != "componentRef"},
            {key: value for key, value in component.items() if key != "executorLabel"},
            spec["deploymentSpec"]["executors"][label],
            settings[label],
        ]
        found.append(json.dumps(work, sort_keys=True))
    return found


def test_the_shipped_manifests_are_current_and_hold_the_same_pipeline(shipped):
    text = (COMPILED / MANIFESTS / shipped.name).read_text()
    assert text == manifest_yaml(shipped.stem), "run `make compile`"
    pipeline, version = yaml.safe_load_all(text)
    for item, kind in ((pipeline, "Pipeline"), (version, "PipelineVersion")):
        assert (item["apiVersion"], item["kind"]) == ("pipelines.kubeflow.org/v2beta1", kind)
        assert item["metadata"]["namespace"] == "levelseq"
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"]
    assert version["metadata"]["name"] != pipeline["metadata"]["name"]
    spec, platform = yaml.safe_load_all(shipped.read_text())
    assert version["spec"]["pipelineSpec"] == spec
    assert version["spec"]["platformSpec"] == platform


def test_training_is_told_what_the_pipeline_was(pipeline):
    own = pipeline["root"]["inputDefinitions"]["parameters"]
    trained = [task for name, task in tasks_of(pipeline) if name.startswith("train")]
    assert len(trained) == (0 if pipeline["pipelineInfo"]["name"] == "levelseq-map-new-data" else 1)
    for task in trained:
        told = task["inputs"]["parameters"]
        assert own.keys() >= set(TRAINING)
        assert all(told[option]["componentInputParameter"].endswith(option) for option in TRAINING)


def test_loading_and_compiling_again_changes_nothing(shipped, tmp_path):
    from kfp import compiler

    loaded = components.load_component_from_file(str(shipped))
    again = tmp_path / "again.yaml"
    compiler.Compiler().compile(loaded, str(again))
    first, second = (list(yaml.safe_load_all(p.read_text())) for p in (shipped, again))
    assert first[0]["root"] == second[0]["root"]
    assert first[0]["deploymentSpec"] == second[0]["deploymentSpec"]


def test_tasks_run_from_the_prebuilt_image_and_install_nothing(pipeline):
    containers = [e["container"] for e in pipeline["deploymentSpec"]["executors"].values()]
    assert {container["image"] for container in containers} == {IMAGE}
    assert not any("pip install" in " ".join(c["command"]) for c in containers)


def test_a_preempted_task_is_tried_again_days_later(pipeline):
    work = tasks_of(pipeline)
    assert len(work) >= 8
    assert {task["retryPolicy"]["backoffMaxDuration"] for _, task in work} == {"604800s"}


def test_what_reads_or_writes_the_registry_is_never_taken_from_the_cache(pipeline):
    tasks = tasks_of(pipeline)
    cached = {name for name, task in tasks if task.get("cachingOptions", {}).get("enableCache")}
    work = ("ingest", "normalize", "train")
    assert cached == {name for name, _ in tasks if name.startswith(work)}
    assert {"ingest", "normalize"} <= cached


def test_tasks_on_the_cohort_ask_for_what_the_plan_predicts(pipeline):
    executors = pipeline["deploymentSpec"]["executors"]
    asked = {name: e["container"]["resources"] for name, e in executors.items()}
    for step in ("ingest", "normalize", "validate"):
        sizes = asked[f"exec-{step}"]
        assert "plan-memory" in sizes["resourceMemoryRequest"]
        assert sizes["resourceMemoryLimit"] == sizes["resourceMemoryRequest"]
        assert "plan-cpu" in sizes["resourceCpuRequest"]
    assert asked["exec-plan"]["resourceMemoryRequest"] == "2Gi"


def test_the_summary_runs_whatever_happened_before(pipeline):
    root = pipeline["root"]["dag"]["tasks"]
    assert root["summarize"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    (group,) = set(root) - {"summarize"}
    assert root["summarize"]["dependentTasks"] == [group]
