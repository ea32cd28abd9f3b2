"""Bulk-like cohorts of any size, in shards as ingest writes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from classical_data import batches, conditions, simulated

from levelseq.cohort import (
    SHARD_COUNTS,
    SHARD_OBSERVATIONS,
    manifest_json,
    shard_path,
    write_shard,
)
from levelseq.store import Store, open_store

__all__ = ["gene_table", "put_cohort", "write_cohort"]

_POOL = 500
_BLOCK = 512


def write_cohort(folder: Path, n_samples: int, n_genes: int, seed: int = 0) -> str:
    """Write a cohort, unless it is there; its address.

    Each sample is one of 500 simulated ones (its batch and condition with it) at half to all of
    its depth: counts are scaled and rounded up or down by chance, so no two samples are equal.
    """
    address = folder / f"{n_samples}x{n_genes}-{seed}"
    store = open_store(str(address))
    if store.exists("cohort.json"):
        return str(address)
    pool_PG = np.concatenate(list(simulated(_POOL, n_genes, seed)))
    dtype = np.min_scalar_type(pool_PG.max())
    var = gene_table(n_genes)
    full = min(SHARD_OBSERVATIONS, int(SHARD_COUNTS * _POOL / (pool_PG > 0).sum()))
    parts = (range(start, min(start + full, n_samples)) for start in range(0, n_samples, full))
    shards = (_shard(samples, pool_PG, dtype, var) for samples in parts)
    roles = {"label": None, "donor": None, "condition": "condition"}
    put_cohort(store, f"scale-{n_samples}x{n_genes}-{seed}", shards, ["batch"], roles)
    return str(address)


def gene_table(n_genes: int) -> pd.DataFrame:
    """Genes that every deposit has."""
    names = pd.Index([f"g{i}" for i in range(n_genes)], name="gene_id")
    return pd.DataFrame({"in_deposits": 1, "in_all_deposits": True}, index=names)


def put_cohort(
    store: Store,
    fingerprint: str,
    shards: Iterable[ad.AnnData],
    batch_tree: list[str],
    roles: dict[str, str | None],
) -> None:
    """Write a cohort, one shard after another, `cohort.json` last."""
    entries = []
    for number, shard in enumerate(shards):
        n_vars, dtype = shard.n_vars, shard.X.dtype.name
        entries.append(write_shard(store, shard_path(number), shard))
    manifest = {
        "schema": "levelseq.cohort/1",
        "fingerprint": fingerprint,
        "n_obs": sum(entry["n_obs"] for entry in entries),
        "n_vars": n_vars,
        "dtype": dtype,
        "batch_tree": batch_tree,
        "roles": roles,
        "shards": entries,
    }
    store.put_if_absent("cohort.json", manifest_json(manifest))


def _shard(
    samples: range, pool_PG: np.ndarray, dtype: np.dtype[np.generic], var: pd.DataFrame
) -> ad.AnnData:
    parts, origin = [], []
    for start in range(samples.start, samples.stop, _BLOCK):
        random = np.random.default_rng([1, start])
        n = min(_BLOCK, samples.stop - start)
        origin.append(random.integers(_POOL, size=n))
        depth = random.uniform(0.5, 1, size=(n, 1)).astype(np.float32)
        chance = random.random((n, pool_PG.shape[1]), dtype=np.float32)
        counts = np.floor(pool_PG[origin[-1]] * depth + chance)
        parts.append(sp.csr_matrix(counts.astype(dtype)))
    number = np.concatenate(origin)
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical([f"b{i}" for i in batches(number)]),
            "condition": pd.Categorical([f"c{i}" for i in conditions(number)]),
        },
        index=pd.Index([f"s{i}" for i in samples]),
    )
    return ad.AnnData(X=sp.vstack(parts, format="csr"), obs=obs, var=var)
