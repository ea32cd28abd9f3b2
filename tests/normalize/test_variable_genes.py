"""The variable genes are scanpy's, from moments that were streamed."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from levelseq.errors import BadInput
from levelseq.normalize.variable_genes import VariableGenes

from .drawn import draw_counts


def streamed(counts, codes, n, size=170):
    moments = VariableGenes(int(codes.max()) + 1, counts.shape[1])
    for start in range(0, counts.shape[0], size):
        moments.add(counts[start : start + size], codes[start : start + size])
    return moments.ranking(n)


def by_scanpy(data, n, batch_key):
    scanpy = pytest.importorskip("scanpy")
    data = data.copy()
    scanpy.pp.normalize_total(data, target_sum=1e4)
    scanpy.pp.log1p(data)
    scanpy.pp.highly_variable_genes(data, n_top_genes=n, batch_key=batch_key)
    return set(np.flatnonzero(data.var["highly_variable"]))


@pytest.mark.parametrize(
    ("name", "n"), [("kang_muscat", 300), ("pbmc_chemistries", 500), ("rna_mixture", 2000)]
)
@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_the_selection_is_scanpys(shared, name, n, batch_key):
    data = ad.read_h5ad(shared / "data" / f"{name}.h5ad")
    codes = np.zeros(data.n_obs, dtype=np.int64)
    if batch_key:
        codes = data.obs[batch_key].astype("category").cat.codes.to_numpy().astype(np.int64)
    ours, theirs = set(streamed(data.X, codes, n)), by_scanpy(data, n, batch_key)
    assert len(ours) == len(theirs) == n
    # In one batch the same set; over batches a tie of rounded values may fall the other way.
    assert len(ours & theirs) >= (n if batch_key is None else 0.99 * n)


def test_genes_variable_in_more_batches_come_first():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], 200)
    counts = rng.poisson(rng.uniform(10, 40, 3000), (400, 3000))
    in_both = rng.negative_binomial(1, 1 / 21, (400, 5))
    in_one = rng.negative_binomial(0.3, 0.3 / 20.3, (400, 5))
    counts[:, :5] = in_both
    counts[:200, 5:10] = in_one[:200]
    counts[200:, 10:15] = in_one[200:]
    assert set(streamed(counts, codes, 10)[:5]) == set(range(5))


def test_a_gene_or_cell_without_counts_is_never_chosen_and_never_nan():
    counts, _ = draw_counts(n_genes=40)
    counts[:, 7] = 0
    counts[3] = 0
    ranking = streamed(counts, np.arange(60) % 3, 100)
    assert 7 not in ranking
    assert len(ranking) == 39


def test_a_batch_of_one_sample_has_no_vote():
    counts, _ = draw_counts()
    codes = np.array([1] + [0] * 59)
    assert len(streamed(counts, codes, 20)) == 20


def test_counts_that_never_vary_are_refused():
    with pytest.raises(BadInput, match="no gene varies in any batch"):
        streamed(np.ones((6, 5), dtype=int), np.zeros(6, dtype=np.int64), 3)
