"""Settle a run: log entry, baseline, report, final verdict, champion; each once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from levelseq.cohort.keys import manifest_json
from levelseq.cost import costs_of
from levelseq.errors import BadAddress, BadInput, Conflict
from levelseq.progress import stage
from levelseq.recalibrate.challenge import LADDER, Challenge, Rung, Unsuited
from levelseq.recalibrate.decision import shortcomings, surpassed
from levelseq.recalibrate.held_out import HeldOut
from levelseq.recalibrate.params import RecalibrateParams
from levelseq.recalibrate.settlement import (
    Settlement,
    Tried,
    as_tried,
    drop,
    founded,
    settle,
    take,
)
from levelseq.registry import MOVES, Baselines, Kind, Registry, alike
from levelseq.registry.sinks import tell_decision
from levelseq.store import Store, open_store, parent
from levelseq.validate.pictures import Pictures
from levelseq.validate.report import render, with_cost, with_verdict

__all__ = ["run"]

Json = dict[str, Any]

SETTLED = "settled.json"
REPORT = "report.html"


def run(
    params: RecalibrateParams,
    verdict: str,
    workspace: str,
    name: str,
    ladder: Sequence[Rung] = LADDER,
) -> str:
    """Settle what becomes of the model and write the final verdict in the first one's place.

    The decision is made once and staged in the run's folder; what follows from it can be done
    again from the start after an interruption, and the second time finds what the first one did.

    Args:
        params: how a challenger is made and judged.
        verdict: the address of `verdict.json`.
        workspace: the workspace of the cohort, model and registry.
        name: the registry's name.
        ladder: ways to make a challenger, the cheapest first; tried when the first verdict asks.

    Returns:
        The verdict's address.

    Raises:
        BadAddress: there is no verdict.
        BadInput: a donor of the cohort has withdrawn since.
    """
    folder, file = parent(verdict)
    store, registry = open_store(folder), Registry(workspace, name)
    while True:
        found = store.get_versioned(file)
        if found is None:
            raise BadAddress("there is no verdict", where=verdict, do="run validate first")
        first = json.loads(found.content)
        champion = registry.reigning()
        if "first" in first:
            store.delete(SETTLED)
            tell_decision(workspace, name, first["run"])
            return verdict
        registry.refuse_withdrawn(first["cohort"])
        try:
            settled = _staged(store, registry, first, champion)
            if settled is None:
                settled = _decided(params, first, champion, workspace, name, ladder, store)
            _apply(settled, registry, Baselines(workspace, name), store, file, found.version)
        except Conflict:
            store.delete(SETTLED)
            continue


def _staged(store: Store, registry: Registry, first: Json, champion: str | None) -> Json | None:
    """The decision of an interrupted try, if it still holds."""
    found = store.get_versioned(SETTLED)
    if found is None:
        return None
    settled: Json = json.loads(found.content)
    entered = registry.find(first["run"]) is not None
    judged_against = settled["verdict"]["champion"]
    if entered or settled["action"] not in MOVES or champion == judged_against:
        return settled
    return None


def _decided(
    params: RecalibrateParams,
    first: Json,
    champion: str | None,
    workspace: str,
    name: str,
    ladder: Sequence[Rung],
    store: Store,
) -> Json:
    settlement, pictures = settle(first, champion), None
    if settlement is None:
        settlement, pictures = _climbed(params, first, workspace, name, ladder)
    kind = Kind.read(first.get("baseline", {}))
    past = Baselines(workspace, name).all()
    own = any(baseline["cohort"] == first["cohort"] for baseline in past)
    if not own and not alike(past, kind, first["cohort"]):
        settlement = founded(settlement, str(kind))
    if pictures:
        page = render(settlement.verdict, pictures)
    else:
        found = store.get_versioned(REPORT)
        page = with_verdict(found.content.decode(), settlement.verdict) if found else ""
    return _stage(store, settlement, with_cost(page, costs_of(store)))


def _climbed(
    params: RecalibrateParams, first: Json, workspace: str, name: str, ladder: Sequence[Rung]
) -> tuple[Settlement, Pictures | None]:
    """The first challenger without shortcomings is taken; the dearer ones are not made then."""
    tried: list[Tried] = []
    for rung in ladder:
        challenge = _challenge(rung, params, first, workspace, name)
        if isinstance(challenge, Unsuited):
            tried.append({"rung": rung.name, "model": None, "because": [challenge.because]})
            continue
        found, compared = shortcomings(first, challenge.verdict, params.score_slack), None
        if not found:
            compared = _compared(challenge)
            found = surpassed(compared)
        tried.append(as_tried(rung.name, challenge.verdict, found, compared))
        stage("recalibrate", f"challenger by {rung.name}", passes=not found)
        if not found:
            return take(first, challenge.verdict, tried), challenge.pictures
    return drop(first, tried), None


def _challenge(
    rung: Rung, params: RecalibrateParams, first: Json, workspace: str, name: str
) -> Challenge | Unsuited:
    """A rung's challenger; a way that these data do not allow is one that does not suit."""
    try:
        return rung.make(params, first, workspace, name)
    except BadAddress:
        raise
    except BadInput as error:
        return Unsuited(error.message)


def _compared(challenge: Challenge) -> HeldOut | str | None:
    """Champion and challenger on what was held out, or why these data do not allow it."""
    try:
        return challenge.held_out()
    except BadAddress:
        raise
    except BadInput as error:
        return error.message


def _stage(store: Store, settlement: Settlement, report: str) -> Json:
    settled = {
        "action": settlement.action,
        "baseline": settlement.baseline,
        "verdict": settlement.verdict,
        "report": report,
    }
    store.put(SETTLED, manifest_json(settled))
    return settled


def _apply(
    settled: Json,
    registry: Registry,
    baselines: Baselines,
    store: Store,
    file: str,
    version: str,
) -> None:
    verdict = settled["verdict"]
    number = _enter(settled, registry)
    if settled["baseline"]:
        baselines.add(verdict["cohort"], _baseline(verdict))
    if settled["report"]:
        store.put(REPORT, settled["report"].encode())
    store.put_if_version(file, manifest_json(verdict), version)
    registry.follow(number)
    stage("recalibrate", f"settled: {settled['action']}", log=number, data=verdict["data"])


def _enter(settled: Json, registry: Registry) -> int:
    """The decision's number in the log, entered now or by an interrupted try."""
    verdict, action = settled["verdict"], settled["action"]
    entry = {
        "action": action,
        "model": verdict.get("challenger") or verdict["model"],
        "run": verdict["run"],
        "reasons": verdict["reasons"],
    }
    if "tried" in verdict:
        entry["tried"] = verdict["tried"]
    if action in MOVES:
        return registry.append(entry, over=verdict["champion"])
    return registry.append(entry)


def _baseline(verdict: Json) -> Json:
    return {
        "run": verdict["run"],
        "model": verdict["model"],
        "normalized": verdict.get("normalized"),
        **Kind.read(verdict.get("baseline", {})).as_json(),
        "gates": {gate["name"]: gate["value"] for gate in verdict["gates"]},
        "metrics": {gate["name"]: gate["metric"] for gate in verdict["gates"] if "metric" in gate},
        "scores": verdict["scores"],
    }
