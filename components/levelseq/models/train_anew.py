"""Training anew, on the cohorts that a model has learned from and a new one together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from levelseq.cohort import Cohort, content_key, open_cohort
from levelseq.cohort.gene_space import GeneSpace
from levelseq.cohort.joined import Part, joined
from levelseq.errors import BadAddress
from levelseq.models.checkpoint import StoreCheckpoints
from levelseq.models.classical import ClassicalModel
from levelseq.models.fit import CLASS_OF, Fitted, fit_model, write_model
from levelseq.models.saving import MODEL, SCHEMA, Model, load_model, read_model_json
from levelseq.normalize.cohort_fit import CohortCounts, fit_cohort_sizes, rank_variable_genes
from levelseq.progress import stage
from levelseq.store import join, open_store
from levelseq.train.params import TrainParams

__all__ = ["fit_anew", "learned_from", "train_again", "train_anew_model", "why_not_anew"]

Json = dict[str, Any]


class _Again(NamedTuple):
    """What a model is trained anew from: itself, its manifest, and the parts, the new one last."""

    model: Model
    manifest: Json
    parts: list[Part]


def learned_from(model: str, workspace: str) -> list[Cohort]:
    """The cohorts of a model and its ancestors that are in the workspace, the oldest first."""
    found: dict[str, Cohort] = {}
    address: str | None = model
    while address is not None:
        try:
            manifest = read_model_json(address)
        except BadAddress:
            break
        for key in reversed(manifest.get("trained_on") or [manifest["cohort"]]):
            try:
                found[key] = open_cohort(join(workspace, "cohorts", str(key)))
            except BadAddress:
                continue
        parent = manifest.get("parent")
        address = join(workspace, "models", parent) if parent else None
    return list(found.values())[::-1]


def why_not_anew(model: str, cohort: str, workspace: str, most: int) -> str:
    """Why a model cannot be trained anew with a cohort; empty where it can be.

    Args:
        model: whose kind, params and cohorts are taken.
        cohort: the new one.
        workspace: of both.
        most: observations to train on.
    """
    again = _again(model, cohort, workspace)
    tables = [c.obs() if rows is None else c.obs().iloc[rows] for c, rows in again.parts]
    size = sum(len(table) for table in tables)
    if size > most:
        return f"training anew would take {size} observations, more than {most} (--retrain-cells)"
    leaves = {leaf for table in tables for leaf in again.model.tree.paths(table)}
    if len(leaves) < 2:
        return "no cohort that it was trained on is left, and the new one is a single batch"
    return ""


def train_anew_model(model: str, cohort: str, workspace: str) -> str:
    """Train a model of the same class and params on the old cohorts and a new one.

    A killed training goes on from its last checkpoint.

    Returns:
        The address of the new model, whose parent is the old one; at once when it is there.

    Raises:
        BadInput: batch and condition cannot be told apart, or the cohorts share no gene.
    """
    again = _again(model, cohort, workspace)
    fingerprints = [each.fingerprint for each, _ in again.parts]
    parent = again.manifest["key"]
    key = content_key({"parent": parent, "cohorts": fingerprints, "way": "anew", "schema": SCHEMA})
    folder = join(workspace, "models", key)
    store = open_store(folder)
    if store.exists(MODEL):
        return folder
    params = _params_of(again.model, again.manifest)
    checkpoints = StoreCheckpoints(
        open_store(join(workspace, "checkpoints", key)), params.checkpoint_seconds
    )
    fitted, whole = fit_anew(again.model, params, again.parts, checkpoints)
    manifest = {
        "key": key,
        "params": again.manifest["params"],
        "cohort": fingerprints[-1],
        "trained_on": fingerprints,
        "parent": parent,
    }
    size, many = whole.manifest["n_obs"], len(fingerprints)
    fitted[1]["reasons"].append(f"trained anew on {size} observations of {many} cohorts")
    write_model(store, fitted, whole, manifest, params.seed)
    checkpoints.remove()
    stage("recalibrate", "trained anew", observations=size, cohorts=many)
    return folder


def train_again(model: str, cohort: str, part: Cohort, workspace: str) -> Model:
    """What `train_anew_model` gives, with a part of the new cohort; nothing is written."""
    again = _again(model, cohort, workspace)
    params = _params_of(again.model, again.manifest)
    return fit_anew(again.model, params, [*again.parts[:-1], (part, None)])[0][0]


def fit_anew(
    model: Model,
    params: TrainParams,
    parts: list[Part],
    checkpoints: StoreCheckpoints | None = None,
) -> tuple[Fitted, Cohort]:
    """A model of the class of another, with its number of genes, fitted to some cohorts together.

    Returns:
        The model with its metrics, and the cohorts as the one that it was fitted to.
    """
    # A level that did not vary may do so now.
    tree, tables = model.tree, [each.obs() for each, _ in parts]
    everywhere = {*tree.levels, *(c for c in tables[0] if all(c in table for table in tables))}
    whole = joined(parts, [level for level in tree.all_levels if level in everywhere])
    counts = CohortCounts(whole)
    name = model.sizes.method if isinstance(model, ClassicalModel) else "library"
    sizes, _ = fit_cohort_sizes(counts, name, [])
    variable = rank_variable_genes(counts, len(model.space.variable))
    genes = [str(gene) for gene in counts.var.index]
    space = GeneSpace.of_cohort(
        whole,
        [genes[i] for i in counts.shared_genes],
        [genes[i] for i in variable],
        sizes.reference_library,
    )
    fitted = fit_model(params, whole, space, sizes, checkpoints)
    assert fitted is not None  # by one process
    return fitted, whole


def _params_of(model: Model, manifest: Json) -> TrainParams:
    """What a model was trained with, its class by name."""
    return TrainParams.checked(**{**manifest["params"], "model_class": CLASS_OF[model.KIND]})


def _again(model: str, cohort: str, workspace: str) -> _Again:
    """With the old cohorts' observations of the deposits that later ones lack."""
    opened, loaded = open_cohort(cohort), load_model(model)
    parts: list[Part] = [(opened, None)]
    counted = set(_deposits(opened))
    for old in reversed(learned_from(model, workspace)):
        own = _deposits(old)
        new = own.keys() - counted
        if old.fingerprint != opened.fingerprint and (new or not own):
            names = [own[digest] for digest in new]
            whole = len(new) == len(own)
            parts.insert(0, (old, None if whole else _rows_of(old, names)))
            counted |= new
    return _Again(loaded, read_model_json(model), parts)


def _deposits(cohort: Cohort) -> dict[str, str]:
    """Names of a cohort's deposits by the digests of their bytes."""
    return {str(d["sha256"]): str(d["study"]["deposit"]) for d in cohort.manifest["deposits"]}


def _rows_of(cohort: Cohort, deposits: list[str]) -> Any:
    """Sorted numbers of the observations of some deposits."""
    return np.flatnonzero(cohort.obs()["deposit"].astype(str).isin(deposits))
