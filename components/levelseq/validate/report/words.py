"""The report's plain words: what the verdict says, what a gate asks, how a figure is written."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

__all__ = [
    "FAMILIES",
    "METHODS",
    "OUTCOMES",
    "Said",
    "gate_title",
    "model_said",
    "number",
    "share",
    "span",
    "verdict_said",
]

Json = dict[str, Any]

OUTCOMES = {
    "pass": ("✓", "pass"),
    "warn": ("!", "warn"),
    "fail": ("✕", "fail"),
    "not_evaluated": ("–", "not evaluated"),
}

FAMILIES = {
    "reference": ("Reference materials", "Do the control samples come out as they must?"),
    "mixing": ("Mixing", "Do observations of different batches lie among each other?"),
    "conservation": ("Conservation", "Does the biology still stand after levelling?"),
    "signature": ("Signature", "Is the difference between the conditions the same as before?"),
    "governance": ("Governance", "Did levelling take the condition away with the batch?"),
    "generalization": ("Generalization", "Does a model fitted elsewhere do as well as before?"),
    "consistency": ("Consistency", "Do earlier samples keep their values with this model?"),
    "drift": ("Drift", "Do these data look like those that the model was fitted to?"),
}

_TERMS = {
    "anchors": "how far anchor samples move",
    "shuffled": "cells shuffled within their type",
    "labels_only": "an embedding of the labels alone",
    "ilisi": "iLISI",
    "clisi": "cLISI",
    "cilisi": "CiLISI",
    "pcr": "variance explained by batch (PCR)",
    "nmi": "NMI of clusters and labels",
    "ari": "ARI of clusters and labels",
    "asw": "silhouette width",
    "bras": "batch silhouette (BRAS)",
    "kbet": "kBET",
    "r2": "R²",
    "mmd": "MMD",
    "latent": "shift of the embedding",
    "expression": "shift of gene expression",
    "genes": "genes that stand out",
    "qc": "shift of library quality",
    "false_genes": "genes that differ only after levelling",
    "combat": "ComBat",
    "correlation": "correlation of log fold changes",
    "lfc": "log fold change",
    "snr": "signal-to-noise ratio, dB",
    "slope": "slope of log fold changes",
    "neighbours_kept": "neighbours kept within batches",
    "weakest_group": "neighbours kept in the weakest group",
    "batch_variance": "variance explained by batch",
    "bio": "biology score beside unintegrated",
    "sign": "genes that differ in the same direction",
    "variance_removed": "condition's variance removed",
    "false_positives": "differences where there are none",
    "condition_embedding": "condition told from the embedding, share kept",
    "condition_values": "condition told from levelled values, share kept",
    "signature_genes": "condition kept in the genes of the batch",
    "protected_genes": "condition kept in protected genes",
    "condition_by_site": "condition at an unseen site, change",
    "condition_by_donor": "condition of an unseen donor, change",
    "type_by_site": "type at an unseen site, change",
    "type_by_donor": "type of an unseen donor, change",
}


METHODS = {"combat": "ComBat"}


class Said(NamedTuple):
    """A sentence, what it means, and the outcome that colours it."""

    headline: str
    meaning: str
    outcome: str


def number(value: object, digits: int = 3) -> str:
    """A figure as a person reads it; a dash for what is missing or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if isinstance(value, int) or (abs(value) >= 1000 and value == int(value)):
        return f"{int(value):,}"
    text = (
        f"{value:.{digits}g}" if abs(value) < 0.01 or abs(value) >= 1000 else f"{value:.{digits}f}"
    )
    text = text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
    return text.replace("-", "−")


def share(value: object) -> str:
    """A share in per cent; a dash for what is missing."""
    return f"{value:.0%}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def span(threshold: list[float | None] | None) -> str:
    """A threshold in words: `0.8 to 1.2`, `at least 0.8`, `at most 1.2`."""
    low, high = threshold or [None, None]
    if low is not None and high is not None:
        return f"{number(low)} to {number(high)}"
    if low is not None:
        return f"at least {number(low)}"
    return f"at most {number(high)}" if high is not None else "no threshold"


def gate_title(name: str) -> str:
    """`signature.slope` -> `Slope of log fold changes`: a title beside the literal name."""
    last = name.rsplit(".", 1)[-1]
    words = _TERMS.get(last) or " ".join(_TERMS.get(word, word) for word in last.split("_"))
    plain = words.split(" ")[0].islower()
    return words[:1].upper() + words[1:] if plain else words


def verdict_said(verdict: Json) -> Said:
    """What the verdict says about the data."""
    outcomes = [gate["outcome"] for gate in verdict["gates"]]
    if verdict["data"] == "refuse":
        failed = outcomes.count("fail")
        return Said(
            "These data are refused",
            f"{_gates(failed)} failed. Do not use the levelled values until the reasons below are"
            " dealt with.",
            "fail",
        )
    warned, failed = outcomes.count("warn"), outcomes.count("fail")
    doubts = sum(control["outcome"] == "warn" for control in verdict.get("controls", []))
    told = f" {doubts} of the controls warned: see Controls below." if doubts else ""
    if warned or failed:
        counts = [(failed, "failed"), (warned, "warned")]
        parts = " and ".join(f"{_gates(n)} {word}" for n, word in counts if n)
        text = f"{parts}. That does not hold the data back; read the reasons before use.{told}"
        return Said("These data are released", text, "warn")
    text = f"Every gate that was evaluated passed.{told}"
    return Said("These data are released", text, "pass")


def model_said(verdict: Json) -> Said:
    """What becomes of the model: proposed in the first verdict, settled in the final one."""
    first, decision = verdict.get("first"), verdict["model_decision"]
    if not first:
        return _PROPOSED[decision]
    if first == "recalibrate":
        return _RECALIBRATED[decision]
    if decision == "keep" and not verdict.get("champion"):
        return Said("Model not promoted", "There is still no champion.", "not_evaluated")
    return _SETTLED[decision]


def _gates(count: int) -> str:
    return f"{count} gate" if count == 1 else f"{count} gates"


_PROPOSED = {
    "promote": Said("Promote the model", "It is fit to become the champion.", "pass"),
    "keep": Said("Keep the champion", "The registry stays as it is.", "not_evaluated"),
    "recalibrate": Said(
        "Recalibrate the model", "The new data have drifted from what it was fitted to.", "warn"
    ),
}
_SETTLED = {
    "promote": Said("Model promoted", "It is now the champion.", "pass"),
    "keep": Said("Champion kept", "The registry's champion stays as it was.", "not_evaluated"),
}
_RECALIBRATED = {
    "promote": Said(
        "Recalibrated model promoted",
        "The data had drifted; the recalibrated model passes and is now the champion.",
        "pass",
    ),
    "keep": Said(
        "Champion kept",
        "The data have drifted, and no recalibrated model did better, so the champion stays.",
        "warn",
    ),
}
