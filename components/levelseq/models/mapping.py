"""Mapping a cohort through a model: what `normalize` does when it is given one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.cohort import (
    WHOLE,
    BatchTree,
    Cohort,
    Normalized,
    Part,
    content_key,
    found_shard,
    manifest_json,
    open_cohort,
    shard_path,
    write_shard,
)
from levelseq.errors import BadOption
from levelseq.models.levelled import LevelledShard
from levelseq.models.saving import MODEL, Model, load_model, read_metrics, read_model_json
from levelseq.models.unsupported import refuse_unsupported
from levelseq.normalize.params import NormalizeParams
from levelseq.progress import notice, stage
from levelseq.store import Store, join, open_store

__all__ = ["largest_leaf", "map_cohort"]

Json = dict[str, Any]


def map_cohort(
    params: NormalizeParams, cohort: str, model: str, workspace: str, part: Part = WHOLE
) -> str:
    """Write a cohort's embedding, expression on one reference batch, scores, and labels if any.

    Args:
        params: reference batch, interval, and what is refused.
        cohort: address of the cohort.
        model: address of the model.
        workspace: where `normalized/<key>/` is written.
        part: the shards that are written; of several parts none writes the manifest.

    Returns:
        The address of `normalized/<key>/`; at once when it is there.

    Raises:
        BadInput: genes of the model are missing from the cohort, or a batch's cells are of kinds
            that the model has not seen.
        BadOption: the reference batch is not one of the model's, or all genes are asked for.
    """
    if params.output_genes != "variable":
        raise BadOption(
            "a model gives values for its variable genes only",
            where="--output-genes",
            do="leave it out; levelseq normalize --method gives values for all genes",
        )
    opened, model = open_cohort(cohort), open_store(model.removesuffix(f"/{MODEL}")).address
    trained = read_model_json(model)
    key = _key(params, opened, trained)
    folder = join(workspace, "normalized", key)
    store = open_store(folder)
    if store.exists(Normalized.NAME):
        return folder
    loaded = load_model(model)
    new = _new_batches(opened, loaded.tree)
    _name_new_batches(new)
    tree, named = loaded.tree, params.reference_batch
    largest = read_metrics(model)["largest_leaf"]
    reference = tree.find_reference(named) if named else tree.find_leaf(largest)
    measured = loaded.space.measured_in(opened)[1]
    missing = [gene for gene, has in zip(loaded.space.variable, measured) if not has]
    _name_missing_genes(missing)
    own = [number for number in range(len(opened.reader)) if part.has(number)]
    entries = {number: found_shard(store, number) for number in own}
    # The model's own cohort is like itself, what it was adapted to was mapped before, and whoever
    # wrote the shards that are there has asked.
    if opened.fingerprint != trained["cohort"] and not all(entries.values()):
        refuse_unsupported(loaded, opened, params.most_unsupported)
    shards = _mapped(loaded, opened, reference, measured, store, params, entries)
    if not part.whole:
        stage("normalize", f"part {part} mapped", shards=len(shards))
        return folder
    written = {
        "key": key,
        "cohort": opened.address,
        "model": model,
        "reference_batch": loaded.tree.leaf_name(reference),
        "missing_genes": len(missing),
        **({"missing_gene_ids": missing} if missing else {}),
        **({"new_batches": new} if new else {}),
        "shards": shards,
    }
    # Who the reference's donor is is in the manifest, not in a log.
    donor = opened.role("donor") in tree.levels and reference
    told = "a donor's" if donor else str(written["reference_batch"])
    _finish(store, written, int(opened.manifest["n_obs"]), told)
    return folder


def _finish(store: Store, written: dict[str, Any], n_obs: int, reference: str) -> None:
    """Put the manifest, after which the values are there."""
    same = {
        "schema": Normalized.SCHEMA,
        "method": "model",
        "genes": "variable",
        "unit": "log1p CPM",
    }
    store.put_if_absent(Normalized.NAME, manifest_json(same | written))
    stage("normalize", "mapped through the model", observations=n_obs, reference_batch=reference)


def _key(params: NormalizeParams, cohort: Cohort, trained: dict[str, Any]) -> str:
    """What the values are called: by their cohort, their model, and the params that matter."""
    chosen = params.model_dump(include={"reference_batch", "interval", "most_unsupported"})
    # Intervals of the first models of 0.1.0 were others: effects of batches counted as certain.
    chosen |= {"interval": "with effects"} if params.interval else {}
    # Named only where it is asked for: keys of values without it stay what they were.
    chosen |= {"reference_counts": True} if params.reference_counts else {}
    return content_key(
        {
            "cohort": cohort.fingerprint,
            "model": trained["key"],
            "params": chosen,
            "schema": Normalized.SCHEMA,
        }
    )


def _mapped(
    model: Model,
    cohort: Cohort,
    reference: tuple[str, ...],
    measured: Any,
    store: Store,
    params: NormalizeParams,
    entries: dict[int, dict[str, Any] | None],
) -> list[dict[str, Any]]:
    """Write the shards that have no entry yet; the entries of all of them."""
    absent = [number for number, entry in entries.items() if entry is None]
    asked = {"interval": params.interval, "counts": params.reference_counts}
    levelled = model.levelled(cohort, reference, absent, **asked) if absent else ()
    for number, shard in zip(absent, levelled):
        path = shard_path(number)
        entries[number] = write_shard(store, path, _as_anndata(shard, model, measured))
    return [entry for entry in entries.values() if entry]


def largest_leaf(obs: pd.DataFrame, tree: BatchTree) -> str:
    """The whole path of the leaf with most observations (the first of equals)."""
    sizes = np.bincount(tree.leaf_codes(obs), minlength=len(tree.leaves))
    return ">".join(tree.leaves[int(sizes.argmax())])


def _new_batches(cohort: Cohort, tree: BatchTree) -> list[Json]:
    """The batches that a model has not seen, and what each is taken for; none names a donor."""
    obs = cohort.obs()
    donor, grown = cohort.role("donor"), tree.with_leaves_of(obs)
    size_F = np.bincount(grown.leaf_codes(obs), minlength=len(grown.leaves))[len(tree.leaves) :]
    new = grown.leaves[len(tree.leaves) :]
    found = []
    for leaf, name, size in zip(new, tree.told(new, donor), size_F.tolist()):
        known = tree.stand_in(leaf)
        earlier = known != leaf[: len(known)]
        what = "the latest earlier one" if earlier else "their parent's mean"
        batch: Json = {"batch": name, "observations": size, "taken_for": what}
        if earlier and donor not in tree.levels:
            batch["earlier"] = ">".join(known)
        found.append(batch)
    return found


def _name_new_batches(new: Sequence[Json]) -> None:
    for what in dict.fromkeys(batch["taken_for"] for batch in new):
        own = [batch for batch in new if batch["taken_for"] == what]
        names = [
            batch["batch"] + (f" (as {batch['earlier']})" if "earlier" in batch else "")
            for batch in own[:5]
        ]
        notice(
            "normalize",
            f"batches that the model has not seen are taken for {what}: {', '.join(names)}",
            observations=sum(batch["observations"] for batch in own),
        )


def _name_missing_genes(missing: Sequence[str]) -> None:
    if missing:
        names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        notice(
            "normalize",
            "genes of the model that not every deposit has get no values, and the model takes "
            f"their mean: {names}",
            genes=len(missing),
        )


def _as_anndata(part: LevelledShard, model: Model, measured: Any) -> ad.AnnData:
    levelled, genes = part.levelled, model.space.variable
    obs = part.obs.copy()
    obs["size_factor"] = part.size_factors
    obs["score"] = levelled.score
    if model.labels is not None:
        found = model.labels.apply(levelled.embedding, model.anchors)
        names = list(model.labels.names)
        obs["label_transferred"] = pd.Categorical(found.label, categories=names)
        if found.confidence is not None:
            obs["confidence"] = found.confidence
    layers: dict[str, Any] = {}
    if levelled.lower is not None:
        layers = {"lower": levelled.lower[:, measured], "upper": levelled.upper[:, measured]}
    if levelled.counts is not None:
        layers["reference_counts"] = sp.csr_matrix(levelled.counts[:, measured])
    return ad.AnnData(
        X=levelled.values[:, measured],
        obs=obs,
        var=pd.DataFrame({"variable": True}, index=pd.Index(genes)[measured]),
        obsm={"X_level": levelled.embedding},
        layers=layers,
    )
