"""A small study taken through the real steps up to validate; folders as steps leave them."""

from __future__ import annotations

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from levelseq.cohort import content_key, manifest_json, open_normalized, shard_path, write_shard
from levelseq.ingest import plan
from levelseq.ingest import step as ingest
from levelseq.ingest.params import IngestParams
from levelseq.normalize import step as normalize
from levelseq.normalize.params import NormalizeParams
from levelseq.simulate import SimulateParams, study
from levelseq.store import join, open_store
from levelseq.train import step as train
from levelseq.train.params import TrainParams

STUDY = {"cells": 640, "genes": 300, "types": 4, "donors": 4, "tree": "site=2,run=2"}
ROLES = {"batch": "site>run", "label": "cell_type", "condition": "condition", "donor": "donor"}


@dataclass(frozen=True)
class Workspace:
    """The addresses that validate is given."""

    workspace: str
    cohort: str
    normalized: str
    model: str


def levelled(folder: str, study_options: dict, roles: dict) -> Workspace:
    """Simulate, ingest, normalize, fit the classical model, and map."""
    sheet = study.write(SimulateParams(**{**STUDY, **study_options}), join(folder, "deposits"))
    cohort = ingest.run(plan.run(IngestParams(**roles), [sheet], folder), folder)
    values = normalize.run(NormalizeParams(), cohort, folder)
    model = train.run(TrainParams(model_class="classical"), cohort, values, folder)
    return Workspace(folder, cohort, normalize.run(NormalizeParams(), cohort, folder, model), model)


def write_cohort(workspace: str, counts, obs: pd.DataFrame, levels: list[str], roles: dict) -> str:
    """A cohort folder of two shards, as ingest leaves it."""
    genes = pd.DataFrame(index=[f"g{i}" for i in range(counts.shape[1])])
    return _write(
        workspace,
        "cohorts",
        "cohort.json",
        [
            ad.AnnData(sp.csr_matrix(counts[rows].astype(np.uint16)), obs.iloc[rows], genes)
            for rows in _halves(len(obs))
        ],
        {
            "schema": "levelseq.cohort/1",
            "n_obs": len(obs),
            "n_vars": counts.shape[1],
            "batch_tree": levels,
            "roles": {"label": None, "donor": None, "condition": None, **roles},
            "deposits": [],
        },
        "fingerprint",
    )


def write_normalized(workspace: str, values, level, obs: pd.DataFrame, **facts) -> str:
    """A folder of values by a model, as mapping leaves it; `level` None: no embedding."""
    genes = pd.DataFrame({"variable": True}, index=[f"g{i}" for i in range(values.shape[1])])
    shards = []
    for rows in _halves(len(obs)):
        shard = ad.AnnData(values[rows].astype(np.float32), obs.iloc[rows], genes)
        if level is not None:
            shard.obsm["X_level"] = level[rows].astype(np.float32)
        shards.append(shard)
    manifest = {
        "schema": "levelseq.normalized/1",
        "method": "model",
        "unit": "log1p CPM",
        "reference_batch": None,
        **facts,
    }
    return _write(workspace, "normalized", "normalized.json", shards, manifest, "key")


def replaced(workspace: Workspace, values=None, level=None) -> str:
    """The values of a workspace with others in their place."""
    opened = open_normalized(workspace.normalized)
    whole = ad.concat(list(opened.shards()))
    x = whole.X if values is None else values
    embedding = opened.embedding() if level is None else level
    genes = opened.var()
    shard = ad.AnnData(np.asarray(x, dtype=np.float32), opened.obs(), genes)
    shard.obsm["X_level"] = np.asarray(embedding, dtype=np.float32)
    manifest = {k: v for k, v in opened.manifest.items() if k not in ("key", "shards")}
    return _write(workspace.workspace, "normalized", "normalized.json", [shard], manifest, "key")


def _halves(n: int) -> list[np.ndarray]:
    return np.array_split(np.arange(n), 2)


def _write(workspace, kind, name, shards, manifest, key):
    digest = content_key([np.asarray(s.X.sum()).item() for s in shards] + [sorted(manifest)])
    digest = content_key([digest, *[float(np.sum(s.obsm.get("X_level", 0))) for s in shards]])
    folder = join(workspace, kind, digest)
    store = open_store(folder)
    written = [write_shard(store, shard_path(i), shard) for i, shard in enumerate(shards)]
    store.put_if_absent(name, manifest_json({**manifest, key: digest, "shards": written}))
    return folder
