"""The shipped YAML is what the source compiles to, and what a cluster can read."""

from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp import components
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from levelseq.doors import IMAGE
from levelseq_pipelines.compile import compiled_yaml, without_comments
from levelseq_pipelines.pipelines import PIPELINES

COMPILED = Path(__file__).parents[2] / "pipelines" / "compiled"
WORKFLOW_LIMIT = 256 * 1024


@pytest.fixture(params=PIPELINES)
def shipped(request):
    return COMPILED / f"{request.param}.yaml"


def test_the_shipped_yaml_is_current(shipped):
    fresh = without_comments(compiled_yaml(shipped.stem))
    assert without_comments(shipped.read_text()) == fresh, "run `make compile`"


def test_the_shipped_yaml_parses_as_a_pipeline_and_its_kubernetes_settings(shipped):
    pipeline, platform = yaml.safe_load_all(shipped.read_text())
    spec = json_format.ParseDict(pipeline, PipelineSpec())
    assert {"plan", "ingest", "validate", "enforce"} <= set(spec.root.dag.tasks)
    json_format.ParseDict(platform, PlatformSpec())
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert settings.keys() == pipeline["deploymentSpec"]["executors"].keys()
    for executor in settings.values():
        json_format.ParseDict(executor, KubernetesExecutorConfig())


def test_the_shipped_yaml_fits_into_a_workflow(shipped):
    assert shipped.stat().st_size < WORKFLOW_LIMIT


def test_loading_and_compiling_again_changes_nothing(shipped, tmp_path):
    from kfp import compiler

    loaded = components.load_component_from_file(str(shipped))
    again = tmp_path / "again.yaml"
    compiler.Compiler().compile(loaded, str(again))
    first, second = (list(yaml.safe_load_all(p.read_text())) for p in (shipped, again))
    assert first[0]["root"] == second[0]["root"]
    assert first[0]["deploymentSpec"] == second[0]["deploymentSpec"]


def test_tasks_run_from_the_prebuilt_image_and_install_nothing(shipped):
    pipeline = next(iter(yaml.safe_load_all(shipped.read_text())))
    containers = [e["container"] for e in pipeline["deploymentSpec"]["executors"].values()]
    assert {container["image"] for container in containers} == {IMAGE}
    assert not any("pip install" in " ".join(c["command"]) for c in containers)


def test_a_preempted_task_is_tried_again_days_later(shipped):
    pipeline = next(iter(yaml.safe_load_all(shipped.read_text())))
    dags = [pipeline["root"], *pipeline["components"].values()]
    tasks = [task for dag in dags for task in dag.get("dag", {}).get("tasks", {}).values()]
    work = [task for task in tasks if not task["componentRef"]["name"].startswith("comp-condition")]
    assert len(work) >= 7
    assert {task["retryPolicy"]["backoffMaxDuration"] for task in work} == {"604800s"}


def test_what_reads_or_writes_the_registry_is_never_taken_from_the_cache(shipped):
    pipeline = next(iter(yaml.safe_load_all(shipped.read_text())))
    dags = [pipeline["root"], *pipeline["components"].values()]
    tasks = [item for dag in dags for item in dag.get("dag", {}).get("tasks", {}).items()]
    cached = {name for name, task in tasks if task.get("cachingOptions", {}).get("enableCache")}
    assert cached == {name for name in cached if name.startswith(("ingest", "normalize", "train"))}
    assert {"ingest", "normalize"} <= cached


def test_a_recalibration_that_adapts_gets_a_gpu_and_the_other_does_not(shipped):
    pipeline = next(iter(yaml.safe_load_all(shipped.read_text())))
    executors = pipeline["deploymentSpec"]["executors"]
    gpu = {name for name, e in executors.items() if "accelerator" in e["container"]["resources"]}
    assert "exec-recalibrate" in gpu
    assert "exec-recalibrate-2" not in gpu
