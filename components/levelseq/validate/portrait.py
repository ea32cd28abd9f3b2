"""Filling in what the report draws."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from levelseq.cohort import ROOT, Cohort, Normalized
from levelseq.models.saving import read_model_json
from levelseq.validate.eligible import compare_methods
from levelseq.validate.evidence import Evidence
from levelseq.validate.params import ValidateParams
from levelseq.validate.peers import Peers
from levelseq.validate.pictures import UMAP_OBSERVATIONS, Pictures, plane

__all__ = ["portray"]

Json = dict[str, Any]


def portray(
    params: ValidateParams,
    cohort: Cohort,
    normalized: Normalized,
    model: str,
    evidence: Evidence,
    peers: Peers,
    history: dict[str, list[float]],
) -> Pictures:
    """The pictures of one evaluation.

    Args:
        history: gate -> its values on earlier cohorts, oldest first.
    """
    many = len(evidence.batch_C) >= UMAP_OBSERVATIONS
    projection = "UMAP" if params.pictures and many else "PCA"
    columns = {"batch": evidence.batch_C}
    for name, values in (("label", evidence.label_C), ("condition", evidence.condition_C)):
        if values is not None:
            columns[name] = np.where(values == "", "unknown", values)
    manifest = read_model_json(model)
    return Pictures(
        before=plane(peers.before.embedding, projection, params.seed),
        after=plane(peers.own.embedding, projection, params.seed),
        projection=projection,
        columns=columns,
        scores={method: found.row() for method, found in peers.by_method.items()},
        history=history,
        methods=_methods(cohort, normalized, manifest, evidence, peers),
        provenance=_provenance(cohort, normalized, manifest, evidence),
        compared=compare_methods(cohort, params.seed),
    )


def _provenance(cohort: Cohort, normalized: Normalized, model: Json, evidence: Evidence) -> Json:
    """Essentials of three manifests; study columns and addresses of deposits can name donors."""
    about = cohort.manifest
    return {
        "n_obs": about["n_obs"],
        "n_vars": about["n_vars"],
        "batches": len(evidence.batches),
        "batch_tree": " > ".join(about["batch_tree"]),
        "roles": {role: column for role, column in about["roles"].items() if column},
        "gene_ids": about.get("gene_ids", ""),
        "deposits": len(about["deposits"]),
        "deposit_sha256": [str(deposit["sha256"])[:12] for deposit in about["deposits"]],
        "reference_batch": _reference(cohort, normalized),
        "unit": normalized.manifest.get("unit"),
        "model_class": model["class"],
        "model_genes": model.get("genes"),
        "model_parent": model.get("parent"),
        "model_params": model.get("params", {}),
        "levelseq": version("levelseq"),
    }


def _reference(cohort: Cohort, normalized: Normalized) -> str:
    """The reference batch by name, unless batches are donors."""
    name = str(normalized.manifest.get("reference_batch"))
    if name != ROOT and cohort.role("donor") in cohort.batch_levels:
        return "of one donor"
    return name


def _methods(
    cohort: Cohort, normalized: Normalized, model: Json, evidence: Evidence, peers: Peers
) -> list[str]:
    about = cohort.manifest
    reference = _reference(cohort, normalized)
    on = "the mean of all batches" if reference == ROOT else f"the reference batch {reference}"
    sentences = [
        f"Counts of {about['n_obs']:,} observations and {about['n_vars']:,} genes from"
        f" {len(about['deposits'])} deposits were levelled with levelseq {version('levelseq')}.",
        _MODELS.get(model["class"], f"A model of class {model['class']} was used.").format(
            levels=" > ".join(model.get("batch_tree") or about["batch_tree"]),
            genes=model.get("genes"),
        ),
        f"Levelled expression is given as {normalized.manifest.get('unit')} on {on}.",
        *_beyond_the_model(normalized.manifest),
        f"Embeddings were judged on {len(evidence.batch_C):,} observations beside 30 principal"
        " components of log counts per 10,000 (unintegrated) and the same after ComBat.",
        "Neighbourhoods kept within batches are relative to what two halves of the counts keep of"
        " each other.",
    ]
    if peers.own.scib is not None:
        sentences.append(
            f"Biology and batch scores are the means of scib-metrics"
            f" {version('scib-metrics')}'s default metrics, the total .6 and .4 of them."
        )
    if evidence.sums is not None:
        sentences.append(
            "The condition's signature was compared by pseudobulk: moderated t-tests within leaf"
            " batches on the counts, and across batches on the levelled values."
        )
    sentences.append(
        "Which genes tell batch and condition was asked of ridge logistic regressions on 50"
        " principal components, of which a gene's Shapley value is its weight times its distance"
        " from the mean; they were tested on donors or batches that they had not seen."
    )
    return sentences


def _beyond_the_model(normalized: Json) -> list[str]:
    """What the model had not seen of the data, and what they lack of it."""
    missing, new = normalized.get("missing_genes", 0), normalized.get("new_batches", [])
    sentences = []
    if missing:
        sentences.append(f"{missing:,} genes of the model were not measured.")
    for what in dict.fromkeys(batch["taken_for"] for batch in new):
        names = [batch["batch"] for batch in new if batch["taken_for"] == what]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        sentences.append(
            f"Batches that the model had not seen were taken for {what}:"
            f" {', '.join(names[:10])}{more}."
        )
    return sentences


_MODELS = {
    "ConditionalVAE": (
        "A conditional variational autoencoder with negative binomial likelihood was fitted to"
        " {genes} variable genes, with effects for each node of the batch tree {levels}."
        " The embedding is the log expression that it expects, in no batch, of its latent state"
        " without what is left of batches (a mixture of linear corrections after Harmony), on the"
        " axes that tell clusters of cells apart."
    ),
    "StyleTransfer": (
        "A variational autoencoder whose generator lays batches over a cell's content as styles"
        " (scales, shifts and log-fold changes of {genes} variable genes, summed along the batch"
        " tree {levels}) was trained by the negative binomial likelihood of a cell in its own"
        " style, a critic of mutual nearest neighbours in each other's styles, and the cycle back"
        " to the content (after UNIT and CycleGAN). Its gates have no warnings where biology is at"
        " stake."
    ),
    "LatentArithmetic": (
        "A variational autoencoder with negative binomial likelihood that knows no batch was fitted"
        " to {genes} variable genes, and batches were taken from its latent states as offsets of"
        " soft clusters along the batch tree {levels} (after scGen and Harmony)."
    ),
    "Classical": (
        "Size factors, ComBat over the leaves of the batch tree {levels} and principal components"
        " of {genes} variable genes were fitted and frozen."
    ),
}
