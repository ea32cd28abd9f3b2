"""A decision of the log as a change-control record: what changed, by what protocol, to what effect.

The three parts are those of the FDA's predetermined change control plans (guidance of 2024):
description of the modification, modification protocol, impact assessment. Everything in it stands
in the log, the model manifests and the run's verdict; nothing is measured anew.
"""

from __future__ import annotations

from typing import Any

from levelseq.errors import BadAddress, BadOption
from levelseq.registry.champion import Registry
from levelseq.registry.log import MOVES, Entry
from levelseq.registry.runs import run_folder
from levelseq.store import join, read_json

__all__ = ["as_markdown", "change_record"]

SCHEMA = "levelseq.change/1"

Json = dict[str, Any]


def change_record(workspace: str, name: str, number: int = 0) -> Json:
    """The record of one log entry.

    Args:
        workspace: where registry, models and runs are.
        name: the registry's name.
        number: the entry's, or 0 for the last.

    Raises:
        BadOption: there is no such entry.
        BadInput: the log's chain is broken.
    """
    registry = Registry(workspace, name)
    count = registry.verify()
    entries = registry.log()
    if not 0 < (number or count) <= count:
        raise BadOption(
            f"there is no entry {number or 1} in a log of {count}", where=registry.address
        )
    entry = entries[(number or count) - 1]
    verdict = _verdict(workspace, entry)
    return {
        "schema": SCHEMA,
        "name": name,
        "entry": {key: entry[key] for key in ("number", "previous", "time", "action", "run")},
        "modification": _modification(workspace, entry),
        "protocol": _protocol(verdict),
        "impact": _impact(workspace, entries, entry, verdict),
    }


def _modification(workspace: str, entry: Entry) -> Json:
    """The model, the champion before it, and the params in which they differ."""
    new, old = (_manifest(workspace, key) for key in (entry["model"], entry["parent"]))
    own, other = new.get("params", {}), old.get("params", {})
    return {
        "champion_before": entry["parent"],
        "champion_after": entry["model"] if entry["action"] in MOVES else entry["parent"],
        "model": entry["model"],
        "class": new.get("class"),
        "adapted_from": new.get("parent"),
        "cohort": new.get("cohort"),
        "cohort_of_champion_before": old.get("cohort"),
        "params": {
            key: {"before": other.get(key), "after": own.get(key)}
            for key in sorted(own.keys() | other.keys())
            if old and own.get(key) != other.get(key)
        },
    }


def _protocol(verdict: Json) -> Json:
    """What the model had to meet: the gates' thresholds, and how closely was looked."""
    return {
        "cohort": verdict.get("cohort"),
        "baseline": verdict.get("baseline"),
        "params": verdict.get("params", {}),
        "scib_metrics": verdict.get("scores", {}).get("scib_metrics"),
        "gates": [
            {key: gate.get(key) for key in ("name", "threshold", "threshold_from", "metric")}
            for gate in verdict.get("gates", [])
        ],
    }


def _impact(workspace: str, entries: list[Entry], entry: Entry, verdict: Json) -> Json:
    """What was decided and why, and each gate before and after.

    Of a challenger that was dropped: the champion's on this cohort, and what the challenger gave.
    """
    before, cohort = _before(workspace, entries, entry, verdict)
    after = {gate["name"]: gate["value"] for gate in verdict.get("gates", [])}
    outcome = {gate["name"]: gate["outcome"] for gate in verdict.get("gates", [])}
    if found := _dropped(entry, verdict):
        before, cohort, after = after, verdict["cohort"], found["gates"]
        outcome = {gate["name"]: _outcome(gate, found) for gate in verdict["gates"]}
    return {
        "data": verdict.get("data"),
        "model_decision": verdict.get("model_decision"),
        "reasons": entry["reasons"],
        "before_on": cohort,
        "anchors_moved": _metrics(workspace, entry["model"]).get("anchors_moved"),
        "gates": [
            {
                "name": name,
                "before": before.get(name),
                "after": after.get(name),
                "outcome": outcome[name],
            }
            for name in outcome
        ],
        "charts": [chart for chart in verdict.get("charts", []) if chart["rules"]],
    }


def _dropped(entry: Entry, verdict: Json) -> Json | None:
    """The challenger that was dropped as the verdict tells it, if its gates were kept."""
    if entry["action"] != "drop":
        return None
    tried = [t for t in verdict.get("tried", []) if t["model"] == entry["model"] and t.get("gates")]
    return tried[-1] if tried else None


def _outcome(gate: Json, tried: Json) -> str:
    """A gate's outcome for a challenger: by what it was dropped for, and what is accepted."""
    value = tried["gates"].get(gate["name"])
    if value is None:
        return "not_evaluated"
    if f"its {gate['name']} fails" in tried["because"]:
        return "fail"
    low, high = gate["threshold"] or (None, None)
    inside = (low is None or value >= low) and (high is None or value <= high)
    return "pass" if inside else "warn"


def _before(
    workspace: str, entries: list[Entry], entry: Entry, verdict: Json
) -> tuple[Json, str | None]:
    """The old champion's gate values and the cohort they are of: this one where it was judged."""
    if "champion_gates" in verdict:
        return verdict["champion_gates"], str(verdict["cohort"])
    earlier = [
        e for e in entries[: entry["number"] - 1] if e["model"] == entry["parent"] is not None
    ]
    if not earlier or entry["parent"] == entry["model"]:
        return {}, None
    found = _read(join(run_folder(workspace, earlier[-1]["run"]), "verdict.json"))
    return {gate["name"]: gate["value"] for gate in found.get("gates", [])}, found.get("cohort")


def _verdict(workspace: str, entry: Entry) -> Json:
    """The verdict that an entry rests on; a withdrawal rests on none."""
    if entry["action"] == "withdraw":
        return {}
    return _read(join(run_folder(workspace, entry["run"]), "verdict.json"))


def _metrics(workspace: str, model: str | None) -> Json:
    return _read(join(workspace, "models", model, "metrics.json")) if model else {}


def _manifest(workspace: str, model: str | None) -> Json:
    return _read(join(workspace, "models", model, "model.json")) if model else {}


def _read(address: str) -> Json:
    """A JSON object, or nothing where it is gone: the record says what there is."""
    try:
        return read_json(address)
    except BadAddress:
        return {}


def as_markdown(record: Json) -> str:
    """A record for a person, a file or a change board."""
    entry, change, impact = record["entry"], record["modification"], record["impact"]
    facts = {key.replace("_", " "): value for key, value in change.items() if key != "params"}
    params = [f"- {key}: {v['before']} → {v['after']}" for key, v in change["params"].items()]
    thresholds = {gate["name"]: gate for gate in record["protocol"]["gates"]}
    rows = [
        f"| {g['name']} | {_text(thresholds[g['name']]['threshold'])} | {_text(g['before'])}"
        f" | {_text(g['after'])} | {g['outcome'].replace('_', ' ')} |"
        for g in impact["gates"]
    ]
    lines = [
        f"# Change record {entry['number']} of {record['name']}: {entry['action']}",
        "",
        f"Run {entry['run']}, {entry['time']}; SHA-256 of the entry before: "
        f"{_text(entry['previous'])}.",
        "",
        "## What changed",
        "",
        *(f"- {key}: {_text(value)}" for key, value in facts.items()),
        *params,
        "",
        "## Protocol",
        "",
        f"- judged on cohort {_text(record['protocol']['cohort'])}",
        *(f"- {key}: {value}" for key, value in sorted(record["protocol"]["params"].items())),
        "",
        "## Impact",
        "",
        f"- data: {_text(impact['data'])}, model: {_text(impact['model_decision'])}",
        f"- before: the earlier champion on cohort {_text(impact['before_on'])}",
        f"- anchor cells' values move by (root mean square, log1p CPM): "
        f"{_text(impact['anchors_moved'])}",
        *(f"- {reason}" for reason in impact["reasons"]),
        "",
        "| gate | accepted | before | after | outcome |",
        "|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    if isinstance(value, list):
        low, high = value
        bounds = (("at least", low), ("at most", high))
        return ", ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
