"""The model card that lies beside the weights."""

from __future__ import annotations

from typing import Any

from levelseq.cohort import BatchTree

__all__ = ["model_card"]


def model_card(manifest: dict[str, Any], metrics: dict[str, Any], tree: BatchTree) -> str:
    """Markdown that says what a model is, what it was trained on, and what it is not for."""
    choices = "\n".join(f"- {key}: {value}" for key, value in sorted(manifest["params"].items()))
    reasons = "\n".join(f"- {reason}" for reason in metrics.get("reasons", []))
    parent = manifest.get("parent") or "none"
    return f"""# {manifest["class"]} {manifest["key"]}

Levels technical differences between the batches of one study and maps later deposits of the same
kind. Trained on cohort `{manifest["cohort"]}`; parent model: {parent}.

- variable genes: {manifest["genes"]}
- batch tree: {" > ".join(tree.levels)}, {len(tree.leaves)} leaves

## Choices

{choices}

## Why

{reasons or "- defaults"}

## Limits

Expression is comparable on the reference batch that `normalized.json` names. Cells with a score
near 0 are of a kind that the training cohort lacks. Not for diagnosis.
"""
