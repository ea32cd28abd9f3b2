"""What no manifest may ask of a cluster: one function a rule, each yields what it objects to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Item = dict[str, Any]
Rule = Callable[[Item], Iterator[str]]

# Who may hold a token for the API server: a run's pods report their results through it.
TOKENS = {"levelseq": True, "levelseq-watch": False, "levelseq-events": False}
_SECRET = re.compile(r"(?i)(secret|passw|credential|private_?key|access_?key|api_?key|token)")
_ESCALATING = {"bind", "escalate", "impersonate"}


def not_root(item: Item) -> Iterator[str]:
    for pod in pods(item):
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser", 0) == 0:
            yield "a pod may run as root"
        for container in containers(pod):
            inner = container.get("securityContext", {})
            if inner.get("runAsNonRoot") is False or inner.get("runAsUser") == 0:
                yield "a container runs as root"


def read_only_root(item: Item) -> Iterator[str]:
    for container in all_containers(item):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield "the root filesystem can be written to"


def no_escalation(item: Item) -> Iterator[str]:
    for container in all_containers(item):
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            yield "privileges may be gained"


def no_capabilities(item: Item) -> Iterator[str]:
    for container in all_containers(item):
        capabilities = container.get("securityContext", {}).get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield "capabilities are kept"


def seccomp(item: Item) -> Iterator[str]:
    for pod in pods(item):
        profile = pod.get("securityContext", {}).get("seccompProfile", {})
        if profile.get("type") != "RuntimeDefault":
            yield "system calls are not filtered"


def no_host(item: Item) -> Iterator[str]:
    for pod in pods(item):
        if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
            yield "a namespace of the node is shared"
        if any("hostPath" in volume for volume in pod.get("volumes", [])):
            yield "a folder of the node is mounted"


def limits_set(item: Item) -> Iterator[str]:
    """Both requests and the limit of memory; more processors than asked for harm nobody."""
    for container in all_containers(item):
        resources = container.get("resources", {})
        for size, wanted in (("requests", {"cpu", "memory"}), ("limits", {"memory"})):
            if not wanted <= resources.get(size, {}).keys():
                yield f"no {size} of {' and '.join(sorted(wanted))}"


def image_pinned(item: Item) -> Iterator[str]:
    for container in all_containers(item):
        image = container.get("image")
        if image is None:
            continue
        tag = image.rsplit("/", 1)[-1].partition(":")[2]
        if "@sha256:" not in image and tag in ("", "latest"):
            yield f"{image} can change"


def rights_named(item: Item) -> Iterator[str]:
    for rule in item.get("rules", []) if item["kind"] in ("Role", "ClusterRole") else []:
        words = [*rule.get("apiGroups", []), *rule.get("resources", []), *rule["verbs"]]
        if "*" in words or rule.get("nonResourceURLs"):
            yield "a wildcard in a role"
        if _ESCALATING & set(rule["verbs"]):
            yield "a role that can give itself more"
        if "secrets" in rule.get("resources", []) and not rule.get("resourceNames"):
            yield "all secrets can be read"


def no_plain_secret(item: Item) -> Iterator[str]:
    if item["kind"] == "Secret" and (item.get("data") or item.get("stringData")):
        yield "a secret's value stands in the file"
    if item["kind"] == "ConfigMap":
        for key, value in item.get("data", {}).items():
            if _SECRET.search(key) and value:
                yield f"{key} in a config map"
    for container in all_containers(item):
        for variable in container.get("env", []):
            if _SECRET.search(variable["name"]) and variable.get("value", "/")[:1] != "/":
                yield f"{variable['name']} in plain text"


def token_intended(item: Item) -> Iterator[str]:
    if item["kind"] == "ServiceAccount":
        wanted = TOKENS.get(item["metadata"]["name"])
        if wanted is None or item.get("automountServiceAccountToken") is not wanted:
            yield "whether the account's token is mounted was not decided"
    for pod in pods(item):
        if pod.get("serviceAccountName") not in TOKENS:
            yield "the pod runs as an account that nobody chose"
        if pod.get("automountServiceAccountToken", False) is not False:
            yield "the pod mounts a token"


RULES: tuple[Rule, ...] = (
    not_root,
    read_only_root,
    no_escalation,
    no_capabilities,
    seccomp,
    no_host,
    limits_set,
    image_pinned,
    rights_named,
    no_plain_secret,
    token_intended,
)


def violations(item: Item) -> dict[str, list[str]]:
    """The rules that an object breaks, with what each says."""
    found = {rule.__name__: list(rule(item)) for rule in RULES}
    return {name: said for name, said in found.items() if said}


def pods(item: Item) -> Iterator[Item]:
    """The pod specs inside an object; Argo Events' template counts as one."""
    spec = item.get("spec", {})
    match item["kind"]:
        case "Pod":
            yield spec
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job":
            yield spec["template"]["spec"]
        case "CronJob":
            yield spec["jobTemplate"]["spec"]["template"]["spec"]
        case "TrainingRuntime":
            for job in spec["template"]["spec"]["replicatedJobs"]:
                yield job["template"]["spec"]["template"]["spec"]
        case "EventSource" | "Sensor":
            template = spec["template"]
            yield template | {"containers": [template["container"]]}


def containers(pod: Item) -> list[Item]:
    return [*pod["containers"], *pod.get("initContainers", [])]


def all_containers(item: Item) -> Iterator[Item]:
    for pod in pods(item):
        yield from containers(pod)
