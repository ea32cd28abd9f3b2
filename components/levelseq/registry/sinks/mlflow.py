"""MLflow: a run a decision, a model version a champion, by its REST API 2.0.

The variables are those of MLflow's own client: `MLFLOW_TRACKING_URI` turns it on;
`MLFLOW_RUN_ID`, `MLFLOW_EXPERIMENT_ID` or `MLFLOW_EXPERIMENT_NAME` say where runs go;
`MLFLOW_REGISTRY_URI` where models go; `MLFLOW_TRACKING_TOKEN`, or `…_USERNAME` and `…_PASSWORD`.
"""

from __future__ import annotations

import os
import time
from typing import Any

from levelseq.registry.sinks.http import JsonServer, Unreachable, basic, bearer
from levelseq.registry.sinks.told import Champion, Decision
from levelseq.store import split_scheme

__all__ = ["address", "tell_champion", "tell_decision"]

_ALIAS = "champion"
_EXISTS = "RESOURCE_ALREADY_EXISTS"


def address() -> str:
    """The tracking server's, or nothing."""
    return os.environ.get("MLFLOW_TRACKING_URI", "")


def tell_decision(decision: Decision) -> None:
    """Log gates and scores to a run, and register the model when it was promoted.

    Raises:
        Unreachable: the server refuses or does not answer.
    """
    run = _logged(decision)
    if decision.promoted:
        _registered(decision, run)
    tell_champion(decision.champion)


def tell_champion(champion: Champion) -> None:
    """Move the alias `champion` to the version of the champion, or take it away."""
    server = _server(os.environ.get("MLFLOW_REGISTRY_URI") or address())
    path = "registered-models/alias"
    if version := _version(server, champion.name, champion.model):
        server.post(path, {"name": champion.name, "alias": _ALIAS, "version": version})
    elif server.find("registered-models/get", name=champion.name):
        try:
            server.delete(path, {"name": champion.name, "alias": _ALIAS})
        except Unreachable as error:
            if error.status != 404:
                raise


def _server(uri: str) -> JsonServer:
    env = os.environ.get
    known = bearer(env("MLFLOW_TRACKING_TOKEN", "")) or basic(
        env("MLFLOW_TRACKING_USERNAME", ""), env("MLFLOW_TRACKING_PASSWORD", "")
    )
    trust = env("MLFLOW_TRACKING_SERVER_CERT_PATH")
    if env("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
        trust = ""
    return JsonServer(f"{uri.rstrip('/')}/api/2.0/mlflow", known, trust)


def _logged(decision: Decision) -> str:
    """The id of the MLflow run that has the decision's numbers."""
    server, given = _server(address()), os.environ.get("MLFLOW_RUN_ID", "")
    run = given or _run(server, decision)
    now = int(time.time() * 1000)
    facts = decision.facts | {"model": decision.model, "run": decision.run}
    for what, place in decision.places.items():
        facts |= {f"{what}.uri": place.address, f"{what}.sha256": place.sha256}
    server.post(
        "runs/log-batch",
        {
            "run_id": run,
            "metrics": [
                {"key": key, "value": value, "timestamp": now, "step": 0}
                for key, value in decision.metrics.items()
            ],
            "tags": _tags(facts),
        },
    )
    if not given:
        server.post("runs/update", {"run_id": run, "status": "FINISHED", "end_time": now})
    return run


def _run(server: JsonServer, decision: Decision) -> str:
    """The run of an earlier try, or a new one."""
    experiment = _experiment(server)
    asked = {
        "experiment_ids": [experiment],
        "filter": f"tags.`levelseq.run` = '{decision.run}'",
        "max_results": 1,
    }
    found: list[dict[str, Any]] = server.post("runs/search", asked).get("runs", [])
    if not found:
        content = {
            "experiment_id": experiment,
            "run_name": f"{decision.name}-{decision.run}",
            "start_time": int(time.time() * 1000),
            "tags": _tags({"run": decision.run}),
        }
        found = [server.post("runs/create", content)["run"]]
    return str(found[0]["info"]["run_id"])


def _experiment(server: JsonServer) -> str:
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "levelseq"
    for _ in range(2):
        if found := server.find("experiments/get-by-name", experiment_name=name):
            return str(found["experiment"]["experiment_id"])
        _unless_there(server, "experiments/create", {"name": name})
    raise Unreachable(f"there is no experiment {name!r}, and none could be made")


def _registered(decision: Decision, run: str) -> None:
    server = _server(os.environ.get("MLFLOW_REGISTRY_URI") or address())
    _unless_there(server, "registered-models/create", {"name": decision.name})
    if _version(server, decision.name, decision.model):
        return
    place = decision.places["model"]
    facts = {"model": decision.model, "cohort": decision.facts["cohort"], "run": decision.run}
    content = {
        "name": decision.name,
        "source": _source(place.address, decision.model),
        "run_id": run,
        "tags": _tags(facts | {"uri": place.address, "sha256": place.sha256}),
    }
    server.post("model-versions/create", content)


def _source(place: str, key: str) -> str:
    """MLflow takes no local path that is not a run's own; the tag `levelseq.uri` has it."""
    return f"levelseq:/models/{key}" if split_scheme(place)[0] == "file" else place


def _version(server: JsonServer, name: str, model: str | None) -> str:
    """The number of a model's version, or nothing."""
    if not model:
        return ""
    wanted = f"name = '{name}' and tags.`levelseq.model` = '{model}'"
    found = server.get("model-versions/search", filter=wanted, max_results="1")
    return str(next((v["version"] for v in found.get("model_versions", [])), ""))


def _unless_there(server: JsonServer, path: str, content: dict[str, Any]) -> None:
    try:
        server.post(path, content)
    except Unreachable as error:
        if error.code != _EXISTS:
            raise


def _tags(facts: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": f"levelseq.{key}", "value": value} for key, value in facts.items()]
