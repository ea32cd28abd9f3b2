"""Shards are full by observations or by counts, and lose nothing."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from levelseq.cohort.shards import ShardReader, write_shard
from levelseq.ingest import assemble
from levelseq.ingest.assemble import Block
from levelseq.store import open_store


def blocks(sizes, counts_each):
    start = 0
    for size in sizes:
        dense = np.zeros((size, 50), dtype=np.uint8)
        dense[:, :counts_each] = 1
        obs = pd.DataFrame(index=[f"c{i}" for i in range(start, start + size)])
        yield Block(obs, sp.csr_matrix(dense))
        start += size


@pytest.mark.parametrize(
    ("counts_each", "sizes"),
    [
        (2, [10, 10, 10, 3]),  # full by observations
        (20, [5, 5, 5, 5, 5, 5, 3]),  # full by counts
        (50, [2] * 16 + [1]),
    ],
)
def test_shards_fill_up_across_blocks(monkeypatch, counts_each, sizes):
    monkeypatch.setattr(assemble, "SHARD_OBSERVATIONS", 10)
    monkeypatch.setattr(assemble, "SHARD_COUNTS", 100)
    shards = list(assemble._filled(blocks([7, 1, 21, 4], counts_each)))
    assert [sum(len(part.obs) for part in shard) for shard in shards] == sizes
    names = [name for shard in shards for part in shard for name in part.obs.index]
    assert names == [f"c{i}" for i in range(33)]
    assert sum(part.counts.nnz for shard in shards for part in shard) == 33 * counts_each


def test_an_observation_with_more_counts_than_a_shard_has_one_of_its_own(monkeypatch):
    monkeypatch.setattr(assemble, "SHARD_COUNTS", 10)
    shards = list(assemble._filled(blocks([3], 40)))
    assert [len(shard) for shard in shards] == [1, 1, 1]


def test_observations_of_all_shards_have_the_categories_of_all(tmp_path):
    parts = [
        {"lab": ["b", "a"], "free": ["x", "y"], "n": [1, 2], "kept": [True, False]},
        {"lab": pd.Categorical(["c", None]), "free": ["x", "z"], "n": [3, 4], "kept": [True, True]},
    ]
    store, entries = open_store(str(tmp_path)), []
    for number, part in enumerate(parts):
        obs = pd.DataFrame(part, index=[f"c{number}{i}" for i in range(2)])
        shard = ad.AnnData(sp.csr_matrix(np.eye(2, dtype=np.uint8)), obs)
        entries.append(write_shard(store, f"shards/{number}.zarr", shard))
    whole = ShardReader(store, entries).obs()
    assert list(whole.index) == ["c00", "c01", "c10", "c11"]
    assert list(whole["lab"]) == ["b", "a", "c", "nan"]
    assert list(whole["lab"].cat.categories) == ["a", "b", "c", "nan"]
    assert list(whole["free"].cat.categories) == ["x", "y", "z"]
    assert whole[["n", "kept"]].dtypes.astype(str).tolist() == ["int64", "bool"]
