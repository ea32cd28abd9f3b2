"""The model card that lies beside the weights."""

from __future__ import annotations

from typing import Any

from levelseq.cohort import BatchTree

__all__ = ["model_card"]


def model_card(manifest: dict[str, Any], metrics: dict[str, Any], tree: BatchTree) -> str:
    """Markdown that says what a model is, what it was trained on, and what it is not for."""
    choices = "\n".join(f"- {key}: {value}" for key, value in sorted(manifest["params"].items()))
    reasons = "\n".join(f"- {reason}" for reason in metrics.get("reasons", []))
    labels = _labels(metrics.get("labels"))
    parent = manifest.get("parent") or "none"
    return f"""# {manifest["class"]} {manifest["key"]}

Levels technical differences between the batches of one study and maps later deposits of the same
kind. {_learned(manifest)}; parent model: {parent}.

- variable genes: {manifest["genes"]}
- batch tree: {" > ".join(tree.levels)}, {len(tree.leaves)} leaves

## Choices

{choices}

## Why

{reasons or "- defaults"}

## Labels

{labels}

## Limits

Expression is comparable on the reference batch that `normalized.json` names. Cells with a score
near 0 are of a kind that the training cohort lacks. Not for diagnosis.
"""


def _learned(manifest: dict[str, Any]) -> str:
    """The cohorts that it was fitted to."""
    cohorts = manifest.get("trained_on") or [manifest["cohort"]]
    named = ", ".join(f"`{cohort}`" for cohort in cohorts)
    anew = manifest.get("trained_on") or not manifest.get("parent")
    how = "Trained on" if anew else "Its parent, adapted to"
    return f"{how} cohort{'s' if len(cohorts) > 1 else ''} {named}"


def _labels(found: dict[str, Any] | None) -> str:
    """What a transferred label is worth, as training measured it."""
    if found is None:
        return "None: the training cohort has no label column."
    seen = found.get("seen_in_training")
    aside = "which training has seen" if seen else "kept aside from training"
    kept = f"{found['names']} labels of {found['anchors']} anchors, {aside}."
    if "accuracy" not in found:
        return f"{kept} Later cells get {found['reason']}."
    ranked = "not measured, too few are wrong" if found["auroc"] is None else found["auroc"]
    return f"""{kept} With each batch left out in turn, and its confidence calibrated on the
others only:

- accuracy of the transferred label: {found["accuracy"]}
- expected calibration error of its confidence: {found["expected_calibration_error"]}
- AUROC of the confidence, right against wrong: {ranked}"""
