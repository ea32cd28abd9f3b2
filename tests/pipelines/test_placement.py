"""Where pods go: each cloud's nodes, queues, images, and what is the same everywhere."""

import pytest
import yaml
from kfp import dsl

from levelseq_pipelines.cli import main
from levelseq_pipelines.compile import compiled_yaml
from levelseq_pipelines.scheduling import Placement, Size, Step, schedule

DIGEST = "registry.example/levelseq@sha256:" + 64 * "a"


def compiled(**choices):
    """Settings and containers of a compiled normalize_cohort, by executor."""
    text = compiled_yaml("normalize_cohort", Placement(**choices))
    pipeline, platform = yaml.safe_load_all(text)
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors = pipeline["deploymentSpec"]["executors"]
    return settings, {name: e["container"] for name, e in executors.items()}


def tolerated(settings):
    return {taint["key"] for taint in settings.get("tolerations", [])}


def required(settings):
    """The expressions that a node must fulfil: one term, since terms are alternatives."""
    terms = [term for term in settings.get("nodeAffinity", []) if "weight" not in term]
    assert len(terms) <= 1
    return [expression["key"] for term in terms for expression in term["matchExpressions"]]


@pytest.mark.parametrize(
    ("cloud", "selector", "affinity"),
    [
        ("gke", {"cloud.google.com/compute-class": "levelseq-gpu"}, []),
        ("eks", None, ["karpenter.sh/nodepool"]),
        ("aks", None, ["karpenter.sh/nodepool"]),
    ],
)
def test_training_goes_to_the_clouds_gpu_nodes_with_shared_memory(cloud, selector, affinity):
    settings, containers = compiled(cloud=cloud)
    train = settings["exec-train"]
    assert containers["exec-train"]["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert train.get("nodeSelector", {}).get("labels") == selector
    assert required(train) == affinity
    assert "nvidia.com/gpu" in tolerated(train)
    mounts = {mount["mountPath"]: mount for mount in train["emptyDirMounts"]}
    assert mounts["/dev/shm"]["medium"] == "Memory"
    assert mounts["/dev/shm"]["sizeLimit"] == "8Gi"


@pytest.mark.parametrize("cloud", ["gke", "eks", "aks"])
def test_only_what_trains_asks_for_a_gpu(cloud):
    _, containers = compiled(cloud=cloud)
    gpu = {name for name, c in containers.items() if "accelerator" in c["resources"]}
    assert gpu == {"exec-train", "exec-recalibrate"}


def test_a_local_cluster_is_asked_for_no_gpu_and_no_special_node():
    settings, containers = compiled(cloud="local")
    assert not any("accelerator" in c["resources"] for c in containers.values())
    for executor in settings.values():
        assert not {"tolerations", "nodeAffinity", "nodeSelector"} & executor.keys()


@pytest.mark.parametrize(
    ("cloud", "taint"),
    [("gke", "cloud.google.com/gke-spot"), ("aks", "kubernetes.azure.com/scalesetpriority")],
)
def test_work_may_run_on_spot_nodes_and_small_tasks_may_not(cloud, taint):
    settings, _ = compiled(cloud=cloud)
    for name in ("exec-ingest", "exec-train"):
        assert taint in tolerated(settings[name])
    for name in ("exec-plan", "exec-enforce", "exec-summarize"):
        assert taint not in tolerated(settings[name])


@pytest.mark.parametrize("cloud", ["gke", "eks", "aks"])
def test_on_demand_leaves_spot_nodes_alone(cloud):
    spot = {
        "cloud.google.com/gke-spot",
        "karpenter.sh/capacity-type",
        "kubernetes.azure.com/scalesetpriority",
    }
    settings, _ = compiled(cloud=cloud, on_demand=True)
    for executor in settings.values():
        assert not spot & tolerated(executor)
        assert spot & set(required(executor))


def test_work_waits_in_the_queue_and_tasks_of_seconds_do_not():
    settings, _ = compiled(cloud="gke", queue="levelseq")
    queued = {
        name
        for name, executor in settings.items()
        if executor["podMetadata"]["labels"].get("kueue.x-k8s.io/queue-name") == "levelseq"
    }
    assert {"exec-ingest", "exec-normalize", "exec-train", "exec-validate"} <= queued
    assert not {"exec-plan", "exec-enforce", "exec-summarize"} & queued


@pytest.mark.parametrize("cloud", ["local", "gke", "eks", "aks"])
def test_no_pod_is_root_or_moved_at_work_and_each_has_a_time_limit(cloud):
    settings, _ = compiled(cloud=cloud)
    for name, executor in settings.items():
        assert executor["securityContext"] == {"runAsNonRoot": True}, name
        assert executor["podMetadata"]["annotations"] == {
            "karpenter.sh/do-not-disrupt": "true",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        }
        assert 3600 <= int(executor["activeDeadlineSeconds"]) <= 72 * 3600


def test_images_are_those_asked_for():
    _, containers = compiled(cloud="gke", image=DIGEST, gpu_image=DIGEST.replace("a@", "gpu@"))
    assert {c["image"] for c in containers.values()} == {DIGEST}
    _, containers = compiled(cloud="gke", image=DIGEST)
    images = {name: container["image"] for name, container in containers.items()}
    assert images["exec-train"] == images["exec-recalibrate"] == "levelseq/levelseq-cuda:0.1.0"
    assert images["exec-recalibrate-2"] == images["exec-validate"] == DIGEST


def test_a_release_refuses_images_without_a_digest(tmp_path, capsys):
    words = ["compile", "--cloud", "eks", "--pinned", "--out", str(tmp_path / "out")]
    assert main([*words, "--image", DIGEST]) == 2
    assert "--gpu-image: levelseq/levelseq-cuda:0.1.0 is no digest" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--image", DIGEST, "--gpu-image", DIGEST]) == 0
    written = capsys.readouterr().out.split()
    assert len(written) == 8
    assert DIGEST in (tmp_path / "out" / "watch.yaml").read_text()


def test_what_cannot_be_sized_is_told_by_kfp_with_the_setting_s_name():
    @dsl.component
    def nothing():
        pass

    @dsl.pipeline
    def inner():
        nothing()

    with pytest.raises(ValueError, match="set_cpu_request can only be used on single-step"):

        @dsl.pipeline
        def outer():
            schedule(inner(), Step(), Size("1", "1Gi"))
