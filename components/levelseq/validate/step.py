"""The validate step: a cohort and its values by a model in, verdict and report out."""

from __future__ import annotations

import json
from typing import Any

from levelseq.cohort import manifest_json, open_cohort, open_normalized
from levelseq.cost import costs_of
from levelseq.errors import BadOption
from levelseq.progress import stage
from levelseq.registry import run_folder
from levelseq.store import join, open_store
from levelseq.validate.board import sets_digest
from levelseq.validate.evaluate import evaluate
from levelseq.validate.params import ValidateParams
from levelseq.validate.report import render, with_cost
from levelseq.validate.verdict import VERDICT, as_verdict

__all__ = ["run"]


def _refuse_other_sets(verdict: dict[str, Any], params: ValidateParams) -> None:
    """A run is named by the address of its gene sets, which may hold other ones now."""
    judged_by = verdict.get("governance", {}).get("sets_sha256", "")
    if sets_digest(params.protected_genes) != judged_by:
        raise BadOption(
            "the gene sets are not those that this run was judged by",
            where=f"--protected-genes {params.protected_genes}",
            do="give the changed file another name",
        )


def run(
    params: ValidateParams,
    cohort: str,
    normalized: str,
    model: str,
    workspace: str,
    name: str,
    run: str,
) -> str:
    """Judge a model's values of a cohort; ends well whatever the verdict.

    Args:
        params: subsample and thresholds.
        cohort: address of the counts.
        normalized: address of the values that the model gave.
        model: address of the model.
        workspace: where `runs/<run>/` is written.
        name: the registry's name.
        run: the run's id.

    Returns:
        The address of `verdict.json`, written after `report.html`; at once when it is there.

    Raises:
        BadAddress: one of the three is not there, or they do not belong together.
        BadOption: the file of protected gene sets changed since the run was judged.
    """
    folder = run_folder(workspace, run)
    store = open_store(folder)
    address = join(folder, VERDICT)
    kept = store.get_versioned(VERDICT)
    if kept is not None:
        _refuse_other_sets(json.loads(kept.content), params)
        return address
    found = evaluate(
        params, open_cohort(cohort), open_normalized(normalized), model, workspace, name
    )
    verdict = as_verdict(found, run)
    page = with_cost(render(verdict, found.pictures), costs_of(store))
    store.put("report.html", page.encode())
    store.put_if_absent(VERDICT, manifest_json(verdict))
    stage("validate", f"data: {found.data}, model: {found.decision}", run=run)
    return address
