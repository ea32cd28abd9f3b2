"""What a compiled pipeline asks of a cloud is what that cloud's manifests make."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
import yaml
from rendered import MANIFESTS, names_of, only

from levelseq_pipelines import cli

CLOUDS = ("gke", "eks", "aks")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """What Kubernetes is told of each task of `normalize_cohort`, for one cloud."""
    folder = tmp_path_factory.mktemp("compiled")

    @functools.cache
    def compiled(cloud: str) -> dict[str, dict[str, Any]]:
        words = ["compile", "--cloud", cloud, "--queue", "levelseq", "--out", str(folder / cloud)]
        assert cli.main([*words, "--quiet"]) == 0
        text = (folder / cloud / "normalize_cohort.yaml").read_text()
        *_, platforms = yaml.safe_load_all(text)
        executors = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        assert len(executors) > 6
        return executors

    return compiled


@pytest.mark.parametrize("cloud", CLOUDS)
def test_nodes_that_a_task_asks_for_are_made(render, tasks, cloud):
    objects = render(f"standalone/{cloud}")
    asked = str(list(tasks(cloud).values()))
    classes = set(re.findall(r"'cloud.google.com/compute-class': '([\w-]+)'", asked))
    pools = set(re.findall(r"'(levelseq-(?:gpu|cpu)[\w-]*)'", asked)) - classes
    assert classes | pools, "nothing asks for a GPU node"
    assert classes <= names_of(objects, "ComputeClass")
    assert pools <= names_of(objects, "NodePool")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_task_on_a_gpu_tolerates_the_taints_of_its_pools(render, tasks, cloud):
    objects = render(f"standalone/{cloud}")
    taints = {
        taint["key"]
        for item in objects
        if item["kind"] == "NodePool" and "gpu" in item["metadata"]["name"]
        for taint in item["spec"]["template"]["spec"]["taints"]
    }
    tolerated = [
        {t["key"] for t in task.get("tolerations", [])}
        for task in tasks(cloud).values()
        if "levelseq-gpu" in str(task)
    ]
    assert tolerated
    assert all(taints <= keys for keys in tolerated)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_queue_that_a_task_waits_in_is_there(render, tasks, cloud):
    labels = [task.get("podMetadata", {}).get("labels", {}) for task in tasks(cloud).values()]
    queues = {q for found in labels if (q := found.get("kueue.x-k8s.io/queue-name"))}
    assert queues == names_of(render(f"standalone/{cloud}"), "LocalQueue")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_network_policy_covers_every_task(render, tasks, cloud):
    policy = only(render(f"standalone/{cloud}"), "NetworkPolicy", "levelseq-runs")
    wanted = policy["spec"]["podSelector"]["matchLabels"]
    for task in tasks(cloud).values():
        assert wanted.items() <= task["podMetadata"]["labels"].items()


@pytest.mark.parametrize("cloud", ["local", *CLOUDS])
def test_a_task_reads_every_key_of_the_store_s_secret(tasks, cloud):
    """Keys that section 4 of the README puts into `levelseq-store`, and those of any S3 server."""
    readme = (MANIFESTS / "README.md").read_text()
    section = readme[readme.index("## 4.") : readme.index("## 5.")]
    (mine,) = re.findall(rf"^### {cloud}\n(.*?)(?=^###|\Z)", section, flags=re.M | re.S)
    keys = set(re.findall(r"--from-literal (\w+)=", mine))
    assert bool(keys) == (cloud in {"local", "aks"})
    keys |= {f"AWS_{key}" for key in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION")}
    keys |= {"AWS_ENDPOINT_URL"}
    for task in tasks(cloud).values():
        (secret,) = (one for one in task["secretAsEnv"] if one["secretName"] == "levelseq-store")
        assert keys <= {pair["secretKey"] for pair in secret["keyToEnv"]}


def test_on_azure_a_task_asks_for_its_identity(tasks):
    for task in tasks("aks").values():
        assert task["podMetadata"]["labels"]["azure.workload.identity/use"] == "true"
