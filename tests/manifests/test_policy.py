"""No manifest asks for more than it needs; each rule is shown to catch what it is for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from pod_policy import RULES, TOKENS, pods, violations
from rendered import only

Item = dict[str, Any]

ROLE = yaml.safe_load("""
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r}
rules:
  - {apiGroups: [""], resources: [configmaps], verbs: [get]}
""")
ACCOUNT = yaml.safe_load("""
apiVersion: v1
kind: ServiceAccount
metadata: {name: levelseq}
automountServiceAccountToken: true
""")
SETTINGS = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "c"},
    "data": {"NAME": "x"},
}


def test_no_manifest_breaks_a_rule(everything):
    assert [(item["kind"], broken) for item in everything if (broken := violations(item))] == []


def test_pods_were_looked_at(everything):
    kinds = {item["kind"] for item in everything if any(pods(item))}
    assert kinds == {"CronJob", "TrainingRuntime", "EventSource", "Sensor"}
    accounts = {i["metadata"]["name"] for i in everything if i["kind"] == "ServiceAccount"}
    assert accounts == TOKENS.keys()


def _pod(job: Item) -> Item:
    (pod,) = pods(job)
    return pod


def _container(job: Item) -> Item:
    (container,) = _pod(job)["containers"]
    return container


def _security(job: Item) -> Item:
    return _container(job)["securityContext"]


BAD_PODS: list[tuple[str, Callable[[Item], Any]]] = [
    ("not_root", lambda job: _pod(job)["securityContext"].update(runAsUser=0)),
    ("not_root", lambda job: _pod(job)["securityContext"].pop("runAsNonRoot")),
    ("not_root", lambda job: _security(job).update(runAsUser=0)),
    ("read_only_root", lambda job: _security(job).pop("readOnlyRootFilesystem")),
    ("no_escalation", lambda job: _security(job).pop("allowPrivilegeEscalation")),
    ("no_escalation", lambda job: _security(job).update(privileged=True)),
    ("no_capabilities", lambda job: _security(job).update(capabilities={"drop": ["NET_RAW"]})),
    ("no_capabilities", lambda job: _security(job)["capabilities"].update(add=["SYS_ADMIN"])),
    ("seccomp", lambda job: _pod(job)["securityContext"].pop("seccompProfile")),
    ("no_host", lambda job: _pod(job).update(hostNetwork=True)),
    ("no_host", lambda job: _pod(job)["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
    ("limits_set", lambda job: _container(job)["resources"].pop("limits")),
    ("limits_set", lambda job: _container(job)["resources"]["limits"].pop("memory")),
    ("image_pinned", lambda job: _container(job).update(image="levelseq/levelseq-cpu:latest")),
    ("image_pinned", lambda job: _container(job).update(image="host:5000/levelseq-cpu")),
    (
        "no_plain_secret",
        lambda job: _container(job)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}),
    ),
    ("token_intended", lambda job: _pod(job).pop("serviceAccountName")),
    ("token_intended", lambda job: _pod(job).update(automountServiceAccountToken=True)),
]


@pytest.mark.parametrize(("rule", "spoil"), BAD_PODS)
def test_a_rule_catches_a_bad_pod(render, rule, spoil):
    job = only(render("overlays/local"), "CronJob", "levelseq-watch")
    assert violations(job) == {}
    spoil(job)
    assert violations(job).keys() == {rule}


BAD_OBJECTS: list[tuple[str, Item, Callable[[Item], Any]]] = [
    ("rights_named", ROLE, lambda role: role["rules"][0].update(verbs=["*"])),
    ("rights_named", ROLE, lambda role: role["rules"][0].update(resources=["*"])),
    ("rights_named", ROLE, lambda role: role["rules"][0].update(apiGroups=["*"])),
    ("rights_named", ROLE, lambda role: role["rules"][0].update(resources=["secrets"])),
    ("rights_named", ROLE, lambda role: role["rules"][0].update(verbs=["impersonate"])),
    ("rights_named", ROLE, lambda role: role.update(kind="ClusterRole", rules=[{"verbs": ["*"]}])),
    ("no_plain_secret", SETTINGS, lambda item: item["data"].update(DB_PASSWORD="x")),
    ("no_plain_secret", SETTINGS, lambda item: item.update(kind="Secret")),
    ("token_intended", ACCOUNT, lambda item: item.pop("automountServiceAccountToken")),
    ("token_intended", ACCOUNT, lambda item: item["metadata"].update(name="another")),
]


@pytest.mark.parametrize(("rule", "good", "spoil"), BAD_OBJECTS)
def test_a_rule_catches_a_bad_object(rule, good, spoil):
    item = copy.deepcopy(good)
    assert violations(item) == {}
    spoil(item)
    assert violations(item).keys() == {rule}


def test_every_rule_is_shown_to_catch_something():
    shown = {rule for rule, *_ in (*BAD_PODS, *BAD_OBJECTS)}
    assert shown == {rule.__name__ for rule in RULES}
