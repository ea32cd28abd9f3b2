"""Bulk-like cohorts of any size, in shards as ingest writes them."""

from __future__ import annotations

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
from levelseq.store import open_store

__all__ = ["write_cohort"]

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
    var = pd.DataFrame(
        {"in_deposits": 1, "in_all_deposits": True},
        index=pd.Index([f"g{i}" for i in range(n_genes)], name="gene_id"),
    )
    full = min(SHARD_OBSERVATIONS, int(SHARD_COUNTS * _POOL / (pool_PG > 0).sum()))
    entries = []
    for number, start in enumerate(range(0, n_samples, full)):
        samples = range(start, min(start + full, n_samples))
        entries.append(write_shard(store, shard_path(number), _shard(samples, pool_PG, dtype, var)))
    manifest = {
        "schema": "levelseq.cohort/1",
        "fingerprint": f"scale-{n_samples}x{n_genes}-{seed}",
        "n_obs": n_samples,
        "n_vars": n_genes,
        "dtype": dtype.name,
        "batch_tree": ["batch"],
        "roles": {"label": None, "donor": None, "condition": "condition"},
        "shards": entries,
    }
    store.put_if_absent("cohort.json", manifest_json(manifest))
    return str(address)


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
