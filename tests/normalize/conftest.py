"""Trusted answers from R, and cohorts as ingest writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.cohort import content_key, manifest_json, shard_path, write_shard
from levelseq.store import open_store

Table = Callable[[str], pd.DataFrame]


@pytest.fixture(scope="session")
def oracle(shared: Path) -> Table:
    """A table of the oracles by its path, samples in rows where R has them in columns."""
    folder = shared / "oracles"
    if not folder.is_dir():
        pytest.skip("no answers from R beside the repository")

    def read(path: str) -> pd.DataFrame:
        return pd.read_csv(folder / path, index_col=0)

    return read


@pytest.fixture(scope="session")
def within() -> Callable[[Any, Any], None]:
    """Equal to 1e-9 max(1, |b|), the oracles' tolerance."""

    def check(ours: Any, theirs: Any) -> None:
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert ours.shape == theirs.shape
        assert theirs.size
        assert np.isfinite(ours).all()
        assert (np.abs(ours - theirs) <= 1e-9 * np.maximum(1, np.abs(theirs))).all()

    return check


@pytest.fixture
def write_cohort(tmp_path: Path) -> Callable[..., str]:
    """Writes a cohort of several shards, as ingest does; gives its address."""

    def write(
        counts: Any,
        obs: pd.DataFrame,
        tree: list[str],
        *,
        genes: list[str] | None = None,
        in_all: Any = None,
        condition: str | None = None,
        shard: int = 25,
    ) -> str:
        counts = sp.csr_matrix(counts).astype(np.uint16)
        genes = genes or [f"g{i}" for i in range(counts.shape[1])]
        everywhere = np.ones(len(genes), bool) if in_all is None else np.asarray(in_all)
        var = pd.DataFrame(
            {"in_deposits": 1 + everywhere.astype(int), "in_all_deposits": everywhere},
            index=pd.Index(genes, name="gene_id"),
        )
        fingerprint = content_key([counts.toarray().tolist(), obs.to_csv(), tree, shard])
        folder = tmp_path / "W" / "cohorts" / fingerprint
        store = open_store(str(folder))
        starts = range(0, counts.shape[0], shard)
        entries = [
            write_shard(
                store,
                shard_path(i),
                ad.AnnData(X=counts[s : s + shard], obs=obs.iloc[s : s + shard], var=var),
            )
            for i, s in enumerate(starts)
        ]
        manifest = {
            "schema": "levelseq.cohort/1",
            "fingerprint": fingerprint,
            "n_obs": counts.shape[0],
            "n_vars": counts.shape[1],
            "dtype": "uint16",
            "batch_tree": tree,
            "roles": {"label": None, "donor": None, "condition": condition},
            "shards": entries,
        }
        store.put_if_absent("cohort.json", manifest_json(manifest))
        return str(folder)

    return write
