"""What one object says of another is true: names, namespaces, queues, who may talk to whom."""

from __future__ import annotations

import json
from typing import Any

import kfp_server_api
import pytest
from pod_policy import pods
from rendered import CLOUDS, EVENTS, OVERLAYS, Objects, names_of, only

from levelseq_pipelines.pipelines import PIPELINES

CLUSTER_WIDE = {
    *("Namespace", "PriorityClass", "ClusterQueue", "ResourceFlavor", "WorkloadPriorityClass"),
    *("NodePool", "EC2NodeClass", "AKSNodeClass", "ComputeClass"),
}


@pytest.mark.parametrize("folder", OVERLAYS)
def test_everything_lies_where_the_runs_are(render, folder):
    namespace = "kubeflow" if folder.startswith("standalone") else "levelseq"
    for item in render(folder):
        expected = None if item["kind"] in CLUSTER_WIDE else namespace
        assert item["metadata"].get("namespace") == expected, item
        for subject in item.get("subjects", []):
            assert subject["namespace"] == namespace
    queue = only(render(folder), "ClusterQueue", "levelseq")
    selector = queue["spec"]["namespaceSelector"]
    assert selector == {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


@pytest.mark.parametrize("folder", EVENTS)
def test_an_example_of_events_goes_where_it_is_applied(render, folder):
    assert {item["metadata"].get("namespace") for item in render(folder)} == {None}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_standalone_leaves_the_pods_of_kubeflow_alone(render, cloud):
    objects = render(f"standalone/{cloud}")
    assert not {"Namespace", "LimitRange", "ResourceQuota"} & {item["kind"] for item in objects}
    for item in objects:
        if item["kind"] == "NetworkPolicy":
            wanted = item["spec"]["podSelector"]["matchLabels"]
            assert any("levelseq" in value for value in wanted.values()), "other people's pods"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_own_namespace_denies_by_default(render, cloud):
    policy = only(render(f"overlays/{cloud}"), "NetworkPolicy", "levelseq-default-deny")
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize(
    ("cloud", "open_to"),
    [
        ("local", set()),
        ("gke", {"169.254.169.252/32", "169.254.169.254/32", "169.254.20.10/32"}),
        ("eks", {"169.254.170.23/32"}),
        ("aks", set()),
    ],
)
def test_a_run_reaches_no_link_local_address_but_its_identity_s(render, cloud, open_to):
    for name in ("levelseq-runs", "levelseq-training"):
        policy = only(render(f"overlays/{cloud}"), "NetworkPolicy", name)
        blocks = [
            peer["ipBlock"]
            for rule in policy["spec"]["egress"]
            for peer in rule["to"]
            if "ipBlock" in peer
        ]
        assert all(rule.get("ports") for rule in policy["spec"]["egress"] if "ipBlock" in str(rule))
        for block in blocks:
            if block["cidr"] == "0.0.0.0/0":
                assert block["except"] == ["169.254.0.0/16"]
            else:
                assert block["cidr"] in open_to
        assert open_to <= {block["cidr"] for block in blocks}


def _open(objects: Objects, policy: str) -> set[tuple[str, int]]:
    """The addresses, or Kubeflow's namespace, and ports that a policy's pods may talk to."""
    found = set()
    for rule in only(objects, "NetworkPolicy", policy)["spec"]["egress"]:
        for peer in rule["to"]:
            labels = peer.get("namespaceSelector", {}).get("matchLabels", {})
            where = peer.get("ipBlock", {}).get("cidr") or labels.get("kubernetes.io/metadata.name")
            found |= {(where, port["port"]) for port in rule.get("ports", [])}
    return found


@pytest.mark.parametrize("folder", OVERLAYS)
def test_a_run_reaches_api_servers_and_the_sinks_in_kubeflow(render, folder):
    reached = _open(render(folder), "levelseq-runs")
    assert {("0.0.0.0/0", port) for port in (443, 6443, 8443)} <= reached
    assert {("kubeflow", port) for port in (5000, 8080)} <= reached


@pytest.mark.parametrize("folder", ["overlays/gke", "standalone/gke", "events/pubsub"])
def test_on_gke_everyone_finds_names_and_who_has_an_identity_its_token(render, folder):
    objects = render(folder)
    policies = {"levelseq-runs", "levelseq-training", "levelseq-watch", "levelseq-events"}
    for name in policies & names_of(objects, "NetworkPolicy"):
        reached = _open(objects, name)
        assert {("169.254.20.10/32", 53), ("169.254.169.254/32", 53)} <= reached
        token = {("169.254.169.254/32", 80), ("169.254.169.252/32", 988)}
        assert reached & token == (set() if name == "levelseq-watch" else token)


def test_an_event_source_on_eks_has_an_identity_of_either_kind(render):
    objects = render("events/sqs")
    account = only(objects, "ServiceAccount", "levelseq-events")["metadata"]
    role = only(objects, "ConfigMap", "levelseq-events")["data"]["ROLE_ARN"]
    assert account["annotations"] == {"eks.amazonaws.com/role-arn": role}
    assert ("169.254.170.23/32", 80) in _open(objects, "levelseq-events")


@pytest.mark.parametrize("folder", OVERLAYS)
def test_names_that_are_used_are_defined(render, folder):
    objects = render(folder)
    classes = {
        (item["kind"], item["metadata"]["name"])
        for item in objects
        if item["kind"].endswith("Class")
    }
    for item in objects:
        spec = item.get("spec", {})
        for pod in pods(item):
            assert pod["serviceAccountName"] in names_of(objects, "ServiceAccount")
            assert pod.get("priorityClassName", "levelseq-train") in names_of(
                objects, "PriorityClass"
            )
            for source in pod["containers"][0].get("envFrom", []):
                if "configMapRef" in source:
                    assert source["configMapRef"]["name"] in names_of(objects, "ConfigMap")
                else:
                    assert source["secretRef"] == {"name": "levelseq-store", "optional": True}
        if item["kind"] == "RoleBinding":
            assert item["roleRef"]["name"] in names_of(objects, "Role")
            assert {s["name"] for s in item["subjects"]} <= names_of(objects, "ServiceAccount")
        if item["kind"] == "LocalQueue":
            assert spec["clusterQueue"] in names_of(objects, "ClusterQueue")
        if item["kind"] == "NodePool":
            node_class = spec["template"]["spec"]["nodeClassRef"]
            assert (node_class["kind"], node_class["name"]) in classes


@pytest.mark.parametrize("folder", OVERLAYS)
def test_the_queue_covers_its_flavours_in_order(render, folder):
    objects = render(folder)
    (group,) = only(objects, "ClusterQueue", "levelseq")["spec"]["resourceGroups"]
    flavors = [flavor["name"] for flavor in group["flavors"]]
    assert flavors == ["cpu", "gpu-spot", "gpu-on-demand"][: len(flavors)]
    assert set(flavors) <= names_of(objects, "ResourceFlavor")
    for flavor in group["flavors"]:
        assert [quota["name"] for quota in flavor["resources"]] == group["coveredResources"]


def _tolerated(taints: list[dict[str, Any]], tolerations: list[dict[str, Any]]) -> bool:
    return all(
        any(
            toleration["key"] == taint["key"]
            and (toleration.get("operator") == "Exists" or toleration["value"] == taint["value"])
            for toleration in tolerations
        )
        for taint in taints
    )


@pytest.mark.parametrize("cloud", ["gke", "eks", "aks"])
def test_a_pod_without_a_gpu_stays_off_gpu_nodes_and_training_may_go_to_spot(render, cloud):
    objects = render(f"overlays/{cloud}")
    (pod,) = pods(only(objects, "TrainingRuntime", "levelseq-torch"))
    for name in ("gpu-spot", "gpu-on-demand"):
        assert not _tolerated(only(objects, "ResourceFlavor", name)["spec"]["nodeTaints"], [])
    spot = only(objects, "ResourceFlavor", "gpu-spot")["spec"]
    assert _tolerated(spot["nodeTaints"], pod["tolerations"])
    assert pod["nodeSelector"] == spot["nodeLabels"]
    for pool in (item["spec"]["template"] for item in objects if item["kind"] == "NodePool"):
        if pool["metadata"]["labels"].items() >= pod["nodeSelector"].items():
            assert _tolerated(pool["spec"]["taints"], pod["tolerations"])


@pytest.mark.parametrize("cloud", ["eks", "aks"])
def test_spot_comes_before_on_demand_by_weight_under_one_label(render, cloud):
    objects = render(f"overlays/{cloud}")
    pools = {
        name: only(objects, "NodePool", f"levelseq-gpu-{name}")["spec"]
        for name in ("spot", "on-demand")
    }
    assert pools["spot"]["weight"] > pools["on-demand"]["weight"]
    for name, pool in pools.items():
        wanted = {r["key"]: r["values"] for r in pool["template"]["spec"]["requirements"]}
        assert wanted["karpenter.sh/capacity-type"] == [name]
        assert pool["template"]["metadata"]["labels"] == {"levelseq/pool": "gpu"}
    labels = only(objects, "ResourceFlavor", "gpu-spot")["spec"]["nodeLabels"]
    assert labels == {"levelseq/pool": "gpu"}, "a label of spot alone would undo the falling back"


def test_spot_comes_before_on_demand_in_the_compute_class(render):
    objects = render("overlays/gke")
    spot = [p["spot"] for p in only(objects, "ComputeClass", "levelseq-gpu")["spec"]["priorities"]]
    assert spot == sorted(spot, reverse=True)
    assert set(spot) == {True, False}
    for flavor, name in (("gpu-spot", "levelseq-gpu"), ("gpu-on-demand", "levelseq-gpu-on-demand")):
        labels = only(objects, "ResourceFlavor", flavor)["spec"]["nodeLabels"]
        assert labels == {"cloud.google.com/compute-class": name}
        assert name in names_of(objects, "ComputeClass")


@pytest.mark.parametrize("folder", EVENTS)
def test_a_message_starts_a_run_that_the_api_understands(render, folder):
    objects = render(folder)
    sensor = only(objects, "Sensor", "levelseq-watch")["spec"]
    source = only(objects, "EventSource", "levelseq-bucket")["spec"]
    (dependency,) = sensor["dependencies"]
    events = {
        name for kind in ("sqs", "pubSub", "azureQueueStorage") for name in source.get(kind, {})
    }
    assert {dependency["eventName"]} == events
    (trigger,) = sensor["triggers"]
    body = _body(trigger["template"]["http"]["payload"])
    run = kfp_server_api.V2beta1Run.attribute_map.values()
    assert body.keys() <= set(run)
    version = kfp_server_api.V2beta1PipelineVersionReference.attribute_map.values()
    assert body["pipeline_version_reference"].keys() == set(version)
    settings = only(objects, "ConfigMap", "levelseq-events")["data"]
    parameters = body["runtime_config"]["parameters"]
    assert parameters["deposits"] == [settings["DEPOSITS"]]
    assert parameters["workspace"] == settings["WORKSPACE"]
    for name in ("name", "batch", "label", "condition", "donor"):
        assert parameters[name] == settings[name.upper()]
    assert parameters.keys() <= PIPELINES["watch"].component_spec.inputs.keys()
    placeholders = {
        "LABEL",
        "CONDITION",
        "DONOR",
        "REGION",
        "QUEUE",
        "PROJECT",
        "SUBSCRIPTION",
        "ACCOUNT",
        "PIPELINE_ID",
    }
    assert not placeholders & set(json.dumps([sensor, source]).split('"'))


def _body(payload: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON that Argo Events builds: a path of keys, where a number is a place in a list."""
    body: dict[str, Any] = {}
    for part in payload:
        *path, last = part["dest"].split(".")
        value = part["src"].get("value", part["src"].get("contextTemplate"))
        inner = body
        for key in path[:-1] if last == "0" else path:
            inner = inner.setdefault(key, {})
        if last == "0":
            inner[path[-1]] = [value]
        else:
            inner[last] = value
    return body
